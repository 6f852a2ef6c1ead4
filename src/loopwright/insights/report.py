"""The quality report: everything a person should know about one tenant and one period, and what to do first.

`quality_report` is a pure function of what the named queries returned; `service` asks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, get_args

import msgspec

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import Interval
from loopwright.stats.patterns import CorrectedQuery
from loopwright.trust.summary import TrustSummary
from loopwright.warehouse.period import Period, seeded
from loopwright.warehouse.queries import POSITIVE

from .failures import Asked, Failures, Text, corrected_queries, failure_patterns
from .joins import LEAST_RATE, JoinHealth, JoinTally, join_health
from .metrics import (
    Breakdown,
    DayTally,
    MetricLine,
    RatedFact,
    SegmentTally,
    UnitTally,
    breakdown,
    design_effect,
    estimate,
    metric_lines,
    weighted_rate_of,
)
from .shifts import Drifts, drift_of_numbers, drift_of_shares, rating_changes
from .targets import TAXONOMY
from .versions import VersionChange, VersionValues, version_changes

Section = Literal["metrics", "breakdown", "versions", "failures", "corrected", "joins", "drift"]
SECTIONS: Final[tuple[Section, ...]] = get_args(Section)

_COUNTED: Final = {
    "satisfaction": "satisfaction",
    "sql_accuracy": "SQL accuracy",
    "correction": "the correction rate",
    "refinement": "the refinement rate",
    "abandonment": "the abandonment rate",
}
_SHOWN_TEXT: Final = 60


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How much feedback there is, counted before anything is left out."""

    facts: int = 0
    quarantined: int = 0
    """Kept, but not counted for now."""
    withheld: int = 0
    """Of people, or facts, whose consent does not cover reports."""
    calls: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    @property
    def counted(self) -> int:
        """Facts that a report may count."""
        return self.facts - self.quarantined - self.withheld


class Emptiness(msgspec.Struct, frozen=True, kw_only=True):
    """Why a report has nothing to show."""

    reason: Literal["no feedback at all", "none in this period", "consent", "quarantine"]
    sentence: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth knowing, and what to do about it."""

    level: Literal["alarm", "warning", "good", "note"]
    kind: str
    sentence: str
    action: str


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What the named queries returned. A part that is None was not asked for."""

    now: Census
    """In the period."""
    ever: Census
    """Since the beginning."""
    offset: int
    """Log offset through which all of it is true."""
    watermark: int
    """Log offset through which it came from the warehouse's files; the rest came from the log itself."""
    has_metrics: bool = True
    """Whether the metrics themselves were asked for; breakdowns need their tallies too."""
    tallies: Sequence[UnitTally] | None = None
    before: Sequence[UnitTally] = ()
    days: Sequence[DayTally] = ()
    rated: Sequence[RatedFact] = ()
    """Only needed with weights."""
    segments: Mapping[str, Sequence[SegmentTally]] | None = None
    versions: Mapping[str, VersionValues] | None = None
    texts: Sequence[Text] | None = None
    asked: Sequence[Asked] | None = None
    joins: Sequence[JoinTally] | None = None
    shares: Mapping[str, tuple[Mapping[str | None, int], Mapping[str | None, int]]] | None = None
    """By dimension: how often each value came in the period before, and in this one."""
    numbers: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {}
    ratings: tuple[Sequence[int], Sequence[float]] = ((), ())
    """Times and values of all ratings, in order."""


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good an AI product is for one tenant over one period. A section that is null was not asked for."""

    tenant_id: str
    task: str | None = None
    """The task it is about; None is all of them."""
    period: Period
    generated_at_ms: int
    offset: int
    """Log offset through which the report is true."""
    watermark: int
    """Log offset through which it was read from the warehouse's files, and beyond from the log itself."""
    taxonomy: int
    headline: str
    findings: tuple[Finding, ...]
    """Most urgent first."""
    census: Census
    empty: Emptiness | None
    is_weighted: bool
    metrics: tuple[MetricLine, ...] | None
    breakdowns: tuple[Breakdown, ...] | None
    versions: tuple[VersionChange, ...] | None
    failures: Failures | None
    corrected: tuple[CorrectedQuery, ...] | None
    joins: JoinHealth | None
    drift: Drifts | None
    trust: TrustSummary | None = None
    """What counts by trust, and what is held back."""

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the metrics that miss their target."""
        return tuple(line.name for line in self.metrics or () if line.verdict == "missed")


def sections(asked: Sequence[str] | None) -> tuple[Section, ...]:
    """Return the sections of these names, all for None. Raises `Invalid` for a name that is none."""
    if asked is None:
        return SECTIONS
    known: dict[str, Section] = {section: section for section in SECTIONS}
    if unknown := [name for name in asked if name not in known]:
        raise Invalid(
            f"there is no section '{unknown[0][:40]}'; a report has {', '.join(SECTIONS)}",
            found=unknown[0][:40],
            expected=list(SECTIONS),
        )
    return tuple(known[name] for name in dict.fromkeys(asked))


def quality_report(
    tenant_id: str,
    of: Period,
    *,
    material: Material,
    now_ms: int,
    task: str | None = None,
    weights: Mapping[str, float] | None = None,
    least_join_rate: float = LEAST_RATE,
) -> QualityReport:
    """Return the report that `material` makes. `weights` are trust weights by event id; 1 where unknown."""
    empty = emptiness(material.now, material.ever, task=task)
    lines = _lines(tenant_id, of, material, weights=weights)
    versions = _versions(material)
    joins = (
        None
        if material.joins is None
        else join_health(material.joins, now_ms=now_ms, least_rate=least_join_rate)
    )
    failures = None if material.texts is None else failure_patterns(material.texts, weights=weights)
    drift = _drift(tenant_id, of, material)
    found = _findings(
        empty, lines or (), versions or (), joins=joins, drift=drift, failures=failures
    )
    return QualityReport(
        tenant_id=tenant_id,
        task=task,
        period=of,
        generated_at_ms=now_ms,
        offset=material.offset,
        watermark=material.watermark,
        taxonomy=TAXONOMY,
        headline=_headline(found),
        findings=found,
        census=material.now,
        empty=empty,
        is_weighted=weights is not None,
        metrics=lines,
        breakdowns=_breakdowns(tenant_id, of, material),
        versions=versions,
        failures=failures,
        corrected=None if material.asked is None else corrected_queries(material.asked),
        joins=joins,
        drift=drift,
    )


def emptiness(now: Census, ever: Census, *, task: str | None = None) -> Emptiness | None:
    """Return why there is no feedback to report on, or None when there is some."""
    if now.counted > 0:
        return None
    if task is not None and not ever.facts:
        return Emptiness(
            reason="no feedback at all",
            sentence=f"No feedback of task '{task}' that may be analysed has ever arrived.",
        )
    if not ever.facts:
        return Emptiness(
            reason="no feedback at all",
            sentence="No feedback has ever arrived for this tenant. Send some to POST /api/v1/feedback; "
            "it is in the report within a second.",
        )
    if not now.facts:
        return Emptiness(
            reason="none in this period",
            sentence=f"No feedback in this period. There is some from {_date(ever.first_ms)} to "
            f"{_date(ever.last_ms)}; choose a period that meets it.",
        )
    left = f"All {now.facts:,} facts of this period are left out: "
    if now.withheld >= now.quarantined:
        return Emptiness(
            reason="consent",
            sentence=f"{left}{now.withheld:,} because consent does not cover analysis, "
            f"{now.quarantined:,} are in quarantine.",
        )
    return Emptiness(
        reason="quarantine",
        sentence=f"{left}{now.quarantined:,} are in quarantine, {now.withheld:,} lack consent to analysis. "
        "See GET /api/v1/quarantine for the reasons.",
    )


def _lines(
    tenant_id: str, of: Period, material: Material, *, weights: Mapping[str, float] | None
) -> tuple[MetricLine, ...] | None:
    if material.tallies is None or not material.has_metrics:
        return None
    weighted: dict[str, Interval] = {}
    if weights is not None and material.rated:
        rate = weighted_rate_of(
            material.rated,
            weights,
            positive_from=POSITIVE,
            rng=seeded(tenant_id, of, "weighted satisfaction"),
        )
        weighted = {} if rate is None else {"satisfaction": rate}
    return metric_lines(
        tenant_id,
        of,
        tallies=material.tallies,
        before=material.before,
        days=material.days,
        weighted=weighted,
    )


def _breakdowns(tenant_id: str, of: Period, material: Material) -> tuple[Breakdown, ...] | None:
    if material.segments is None:
        return None
    rated = [tally for tally in material.tallies or () if tally.metric == "satisfaction"]
    design = design_effect(estimate(rated, rng=seeded(tenant_id, of, "satisfaction")))
    return tuple(
        breakdown(dimension, tallies, design=design)
        for dimension, tallies in material.segments.items()
    )


def _versions(material: Material) -> tuple[VersionChange, ...] | None:
    if material.versions is None:
        return None
    return tuple(
        change
        for dimension, values in material.versions.items()
        for change in version_changes(dimension, values)
    )


def _drift(tenant_id: str, of: Period, material: Material) -> Drifts | None:
    if material.shares is None:
        return None
    items = [
        drift_of_shares(name, before, now, rng=seeded(tenant_id, of, f"drift {name}"))
        for name, (before, now) in material.shares.items()
        # A dimension that nobody ever sent has not drifted.
        if {*before, *now} - {None}
    ]
    items += [
        drift_of_numbers(name, before, now, rng=seeded(tenant_id, of, f"drift {name}"))
        for name, (before, now) in material.numbers.items()
        if len(before) or len(now)
    ]
    times, values = material.ratings
    return Drifts(
        since_ms=of.previous.from_ms,
        items=tuple(sorted(items, key=lambda item: -item.psi)),
        rating_changes_ms=rating_changes(times, values),
    )


def _findings(
    empty: Emptiness | None,
    lines: Sequence[MetricLine],
    versions: Sequence[VersionChange],
    *,
    joins: JoinHealth | None,
    drift: Drifts | None,
    failures: Failures | None,
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    if empty is not None:
        found.append(Finding(level="note", kind="empty", sentence=empty.sentence, action=""))
    found += [_of_version(change) for change in versions if change.verdict == "regressed"]
    found += [_of_miss(line, failures) for line in lines if line.verdict == "missed"]
    if joins is not None and joins.has_alarm:
        found.append(_of_joins(joins))
    found += [note for line in lines if (note := _of_turn(line)) is not None]
    found += [_of_version(change) for change in versions if change.verdict == "improved"]
    found += [
        Finding(
            level="warning",
            kind="drift",
            sentence=f"What comes in has shifted: {item.of} is unlike the period before (PSI {item.psi:.2f}).",
            action="Check whether the rates of the two periods are about the same kind of traffic.",
        )
        for item in (drift.items if drift else ())
        if item.verdict == "large"
    ]
    unclear = [line for line in lines if line.verdict == "unclear" and line.value is not None]
    if unclear and not found:
        names = _listed([_COUNTED[line.name] for line in unclear])
        found.append(
            Finding(
                level="note",
                kind="unclear",
                sentence=f"It is too early to say whether {names} {'meets its' if len(unclear) == 1 else 'meet their'} target.",
                action="Wait for more feedback, or choose a longer period.",
            )
        )
    met = [line for line in lines if line.verdict == "met"]
    if met and not any(f.level in ("alarm", "warning") for f in found):
        found.append(
            Finding(
                level="good",
                kind="met",
                sentence=f"On target: {_listed([_COUNTED[line.name] for line in met])}.",
                action="Nothing needs doing.",
            )
        )
    levels = ("alarm", "warning", "good", "note")
    return tuple(sorted(found, key=lambda finding: levels.index(finding.level)))


def _headline(found: Sequence[Finding]) -> str:
    if not found:
        return "There is nothing to report."
    first = found[0]
    more = len([finding for finding in found[1:] if finding.level in ("alarm", "warning")])
    parts = [first.sentence, first.action]
    if more:
        parts.append(f"{more} more below.")
    return " ".join(part for part in parts if part)


def _of_version(change: VersionChange) -> Finding:
    what = change.dimension.replace("_", " ")
    difference = change.difference
    points = 0.0 if difference is None else abs(difference.estimate) * 100
    when = (
        "" if change.detected_at_ms is None else f", certain since {_date(change.detected_at_ms)}"
    )
    if change.verdict == "regressed":
        return Finding(
            level="alarm",
            kind="regression",
            sentence=f"{what.capitalize()} '{change.version}' is rated {points:.1f} points worse than "
            f"'{change.baseline}' beside it{when}.",
            action=f"Go back to '{change.baseline}', or take '{change.version}' out of the traffic.",
        )
    return Finding(
        level="good",
        kind="improvement",
        sentence=f"{what.capitalize()} '{change.version}' is rated {points:.1f} points better than "
        f"'{change.baseline}' beside it{when}.",
        action=f"Give '{change.version}' more of the traffic.",
    )


def _of_miss(line: MetricLine, failures: Failures | None) -> Finding:
    side = "below" if line.direction == "above" else "above"
    action = "Read the failure patterns below and mend the most frequent one first."
    if line.name == "satisfaction" and failures is not None and failures.patterns:
        phrase = failures.patterns[0].phrase[:_SHOWN_TEXT]
        action = f"Start with what people complain of most: “{phrase}”."
    elif line.name == "correction":
        action = "Look at the most corrected queries below."
    return Finding(
        level="alarm",
        kind="missed",
        sentence=f"{_begun(_COUNTED[line.name])} "
        f"is {line.value or 0.0:.1%}, {side} its target of {line.target:.0%}.",
        action=action,
    )


def _of_joins(joins: JoinHealth) -> Finding:
    task = next((task for task in joins.tasks if task.has_alarm), None)
    found, name = (joins.rate, "") if task is None else (task.rate, f" of task '{task.task}'")
    rate = 0.0 if found is None else found.estimate
    return Finding(
        level="alarm",
        kind="joins",
        sentence=f"Only {rate:.0%} of the outcomes{name} join to a model version.",
        action="Send the request_id or the output's id with each outcome, and model_version with each call.",
    )


def _of_turn(line: MetricLine) -> Finding | None:
    """Tell of the latest change of a metric that the changepoint test found."""
    if line.course is None or not line.course.turns:
        return None
    turn = line.course.turns[-1]
    is_better = (turn.after > turn.before) == (line.direction == "above")
    return Finding(
        level="good" if is_better else "warning",
        kind="turn",
        sentence=f"{_begun(_COUNTED[line.name])} changed on {_date(turn.at_ms)}, from {turn.before:.1%} "
        f"to {turn.after:.1%}.",
        action="Keep what was changed that day."
        if is_better
        else "Look at what was deployed or changed that day.",
    )


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _date(at_ms: int | None) -> str:
    if at_ms is None:
        return "an unknown day"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
