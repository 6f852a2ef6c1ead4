"""Gates: criteria that must all hold before a version gets more traffic. Pure: evidence in, verdict out.

Every criterion is judged at the unit of assignment, by statistics that are valid however often one looks, so a gate
may be judged after each event. Promotion needs each of them to hold, so alpha is not divided among them
(intersection-union test, Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.core.gate import (
    Better,
    Finding,
    Gate,
    GateOutcome,
    Guardrail,
    Primary,
    Safety,
    Verdict,
)
from loopwright.stats import sequential
from loopwright.stats.sequential import Difference, Moments

SAMPLE_RATIO_ALPHA: Final = 0.001
MOST_MIXED: Final = 0.01
"""Largest share of units that may have met both arms; beyond it the assignment is broken."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one arm: the units that met it, and their values by metric."""

    units: int = 0
    metrics: dict[str, Moments] = {}
    findings: dict[str, int] = {}
    """What scanners found, by metric."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a gate is judged by, through one offset of the log."""

    champion: Side = Side()
    challenger: Side = Side()
    share: float = 0.5
    """The challenger's share of the units of both arms, as they were assigned."""
    mixed: int = 0
    """Units that met both arms; they are in neither."""
    unsettled: int = 0
    """Decisions that are left out because their attribution window is open."""
    first_ms: int | None = None
    last_ms: int | None = None
    suites: dict[str, bool] = {}
    """Which evaluation suites the challenger has run, and whether it passed."""
    offset: int = 0


def judge(gate: Gate, seen: Evidence) -> Verdict:
    """Return whether the challenger may move on by what was seen."""
    # Safety and assignment first: without them no comparison means anything.
    findings = [*(_safety(s, seen) for s in gate.safety), *_assignment(seen)]
    if gate.suite is not None:
        findings.append(_suite(gate.suite, seen))
    ready = _enough(gate, seen)
    findings += ready
    is_ready = all(found.outcome == "pass" for found in ready)
    more: list[int | None] = []
    harm = [f for f in findings if f.criterion.startswith("safety/") and f.outcome == "fail"]
    for rail in gate.guardrails:
        found, needed = _guardrail(rail, gate, seen)
        # Harm is told as soon as it shows; that there is none only once there are enough units.
        if found.outcome == "fail":
            harm.append(found)
        elif not is_ready:
            found = msgspec.structs.replace(found, outcome="wait")
        findings.append(found)
        more.append(needed)
    if gate.primary is not None:
        found, needed = _primary(gate.primary, gate, seen)
        if not is_ready and found.outcome == "pass":
            found = msgspec.structs.replace(found, outcome="wait")
        findings.append(found)
        more.append(needed)
    outcome = _together(findings)
    units = seen.champion.units + seen.challenger.units
    if outcome == "wait" and gate.most_units is not None and units >= gate.most_units:
        sentence = (
            f"{units} units are in, of at most {gate.most_units}, and the gate has not passed"
        )
        findings.append(
            Finding(
                criterion="most_units", outcome="fail", sentence=sentence, figures={"units": units}
            )
        )
        outcome = "fail"
    return Verdict(
        outcome=outcome,
        findings=tuple(findings),
        is_harmful=bool(harm),
        more_units=_needed(more, units) if outcome == "wait" else None,
    )


def _together(findings: list[Finding]) -> GateOutcome:
    outcomes = {found.outcome for found in findings}
    return "fail" if "fail" in outcomes else "wait" if "wait" in outcomes else "pass"


def _needed(more: list[int | None], units: int) -> int | None:
    known = [need for need in more if need is not None]
    # One criterion that cannot tell makes the whole number a guess.
    if len(known) < len(more) or not known:
        return None
    return max(max(known) - units, 0)


def _safety(rule: Safety, seen: Evidence) -> Finding:
    found = seen.challenger.findings.get(rule.metric, 0)
    said = f"{rule.metric}: {found} found on the challenger, at most {rule.most} allowed"
    return Finding(
        criterion=f"safety/{rule.metric}",
        outcome="fail" if found > rule.most else "pass",
        sentence=said,
        figures={"found": found, "most": rule.most},
    )


def _assignment(seen: Evidence) -> list[Finding]:
    """Return whether units fell on the arms as they should: else no comparison of them means anything."""
    units = seen.champion.units + seen.challenger.units
    findings = []
    # One unit may always slip through, such as a person with two accounts.
    if seen.mixed > max(MOST_MIXED * (units + seen.mixed), 1):
        sentence = f"{seen.mixed} of {units + seen.mixed} units met both arms; make the assignment sticky by unit"
        findings.append(
            Finding(
                criterion="one_arm_per_unit",
                outcome="fail",
                sentence=sentence,
                figures={"mixed": seen.mixed},
            )
        )
    if 0 < seen.share < 1 and units:
        log_e = sequential.sample_ratio(
            (seen.champion.units, seen.challenger.units), (1 - seen.share, seen.share)
        )
        is_off = log_e >= math.log(1 / SAMPLE_RATIO_ALPHA)
        got = seen.challenger.units / units
        sentence = (
            f"the challenger got {got:.1%} of the units where {seen.share:.1%} were assigned: "
            + ("something loses or moves units" if is_off else "as it should be")
        )
        findings.append(
            Finding(
                criterion="sample_ratio",
                outcome="fail" if is_off else "pass",
                sentence=sentence,
                figures={"share": got, "expected": seen.share, "log_e": log_e},
            )
        )
    return findings


def _suite(name: str, seen: Evidence) -> Finding:
    passed = seen.suites.get(name)
    said = {None: "has not run on the challenger", True: "passed", False: "was not passed"}[passed]
    return Finding(
        criterion=f"suite/{name}",
        outcome="wait" if passed is None else "pass" if passed else "fail",
        sentence=f"suite {name} {said}",
    )


def _enough(gate: Gate, seen: Evidence) -> list[Finding]:
    least = min(seen.champion.units, seen.challenger.units)
    needed = gate.least_units
    found = [
        Finding(
            criterion="least_units",
            outcome="pass" if least >= needed else "wait",
            sentence=f"{least} settled units on the smaller arm, {needed} needed",
            figures={"units": least, "needed": needed},
        )
    ]
    if gate.whole_weeks:
        span = 0 if seen.first_ms is None or seen.last_ms is None else seen.last_ms - seen.first_ms
        days, wanted = span / DAY_MS, gate.whole_weeks * 7
        found.append(
            Finding(
                criterion="whole_weeks",
                outcome="pass" if days >= wanted else "wait",
                sentence=f"{days:.1f} days are covered, {wanted} needed",
                figures={"days": days, "needed": wanted},
            )
        )
    return found


def _primary(of: Primary, gate: Gate, seen: Evidence) -> tuple[Finding, int | None]:
    def tell(better: Difference) -> tuple[GateOutcome, str]:
        if better.low > 0:
            return "pass", "better"
        return "wait", "not yet shown to be better"

    return _compared(
        "primary",
        of.metric,
        of.better,
        gate,
        seen,
        alpha=gate.alpha / gate.candidates,
        tell=tell,
        aim=0.0,
    )


def _guardrail(rail: Guardrail, gate: Gate, seen: Evidence) -> tuple[Finding, int | None]:
    # Harm has its own alpha: the two errors cost differently.
    harm = _difference(rail.metric, rail.better, gate, seen, alpha=gate.rollback_alpha)

    def tell(better: Difference) -> tuple[GateOutcome, str]:
        if harm is not None and harm.high < -rail.margin:
            return "fail", f"worse by more than the margin of {rail.margin:g}"
        if better.low > -rail.margin:
            return "pass", f"not worse by more than {rail.margin:g}"
        return "wait", f"not yet shown to stay within {rail.margin:g}"

    return _compared(
        "guardrail",
        rail.metric,
        rail.better,
        gate,
        seen,
        alpha=gate.alpha / gate.candidates,
        tell=tell,
        aim=-rail.margin,
    )


def _difference(
    metric: str, better: Better, gate: Gate, seen: Evidence, *, alpha: float
) -> Difference | None:
    """Return how much better the challenger is; None while one arm has no value of the metric."""
    champion, challenger = seen.champion.metrics.get(metric), seen.challenger.metrics.get(metric)
    if champion is None or challenger is None or not (champion.n and challenger.n):
        return None
    found = sequential.difference(champion, challenger, alpha=alpha, planned=gate.planned_units)
    if better == "higher":
        return found
    return msgspec.structs.replace(
        found, estimate=-found.estimate, low=-found.high, high=-found.low
    )


def _compared(
    kind: str,
    metric: str,
    better: Better,
    gate: Gate,
    seen: Evidence,
    *,
    alpha: float,
    tell: Callable[[Difference], tuple[GateOutcome, str]],
    aim: float,
) -> tuple[Finding, int | None]:
    """Return a finding about one metric, and how many units of both arms it takes until it may pass."""
    found = _difference(metric, better, gate, seen, alpha=alpha)
    if found is None:
        sentence = f"{metric}: no value on {_silent(metric, seen)}; is this metric sent?"
        return Finding(criterion=f"{kind}/{metric}", outcome="wait", sentence=sentence), None
    outcome, said = tell(found)
    # Shown with the sign of the metric: whoever reads latencies expects saved milliseconds as a minus.
    sign = 1 if better == "higher" else -1
    sentence = (
        f"{metric}: {sign * found.estimate:+.4g} against the champion, "
        f"{'at least' if sign > 0 else 'at most'} {sign * found.low:+.4g} at any time with {1 - alpha:.0%}: {said}"
    )
    figures = {
        "estimate": sign * found.estimate,
        "low": _finite(found.low if sign > 0 else -found.high),
        "high": _finite(found.high if sign > 0 else -found.low),
        "units": float(found.units),
    }
    needed = (
        found.units
        if outcome == "pass"
        else sequential.units_until(
            found.estimate - aim, found.variance, alpha=alpha, planned=gate.planned_units
        )
    )
    return Finding(
        criterion=f"{kind}/{metric}", outcome=outcome, sentence=sentence, figures=figures
    ), needed


def _silent(metric: str, seen: Evidence) -> str:
    lacking = [
        name
        for name, side in (("the champion", seen.champion), ("the challenger", seen.challenger))
        if metric not in side.metrics or not side.metrics[metric].n
    ]
    return " and ".join(lacking)


def _finite(value: float) -> float | None:
    # JSON has no infinity.
    return value if math.isfinite(value) else None
