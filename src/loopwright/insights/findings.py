"""The findings of a report: each is one sentence and one action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from loopwright.stats.patterns import CorrectedQuery
from loopwright.warehouse.period import Calendar

from .census import Emptiness
from .course import Turn
from .failures import Failures
from .figures import date
from .joins import JoinHealth
from .metrics import MetricLine
from .sections import Section
from .shifts import Drifts
from .targets import Metric, metric
from .versions import VersionChange

Level = Literal["alarm", "warning", "good", "note"]

_LEVELS: Final[tuple[Level, ...]] = ("alarm", "warning", "good", "note")
_SHOWN_TEXT: Final = 60


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence that a reader should know, and the action that follows."""

    level: Level
    kind: str
    sentence: str
    action: str
    section: Section | None = None
    """The section of the report that the action points at; it is there and has something to show."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The sections that findings are made from. None means not asked for, or failed."""

    empty: Emptiness | None = None
    lines: Sequence[MetricLine] = ()
    versions: Sequence[VersionChange] = ()
    failures: Failures | None = None
    corrected: Sequence[CorrectedQuery] | None = None
    joins: JoinHealth | None = None
    drift: Drifts | None = None
    failed: Mapping[Section, str] = {}


def findings(parts: Parts, calendar: Calendar) -> tuple[Finding, ...]:
    """Return the findings, most urgent first."""
    found: list[Finding] = []
    if parts.empty is not None:
        found.append(Finding(level="note", kind="empty", sentence=parts.empty.sentence, action=""))
    changed = partial(_of_version, calendar=calendar)
    found += [changed(change) for change in parts.versions if change.verdict == "regressed"]
    found += [_of_miss(line, parts) for line in parts.lines if line.verdict == "missed"]
    if parts.joins is not None and parts.joins.has_alarm:
        found.append(_of_joins(parts.joins))
    found += [_of_failed(name, why) for name, why in parts.failed.items()]
    found += [
        # The latest change alone: earlier ones are history that the plot shows.
        _of_turn(line, line.course.turns[-1], calendar)
        for line in parts.lines
        if line.course is not None and line.course.turns
    ]
    found += [changed(change) for change in parts.versions if change.verdict == "improved"]
    found += _of_drift(parts.drift)
    found += _of_targets(parts.lines, found)
    # The sort is stable: within a level the order above holds, a regression before a missed target.
    return tuple(sorted(found, key=lambda finding: _LEVELS.index(finding.level)))


def headline(found: Sequence[Finding]) -> str:
    """Return the first finding, what to do about it, and how many more are urgent."""
    if not found:
        return "There is nothing to report."
    first = found[0]
    more = len([finding for finding in found[1:] if finding.level in ("alarm", "warning")])
    parts = [first.sentence, first.action]
    if more:
        parts.append(f"{more} more below.")
    return " ".join(part for part in parts if part)


def _of_targets(lines: Sequence[MetricLine], found: Sequence[Finding]) -> list[Finding]:
    """Return findings about targets that are met or unclear, unless something more urgent was found."""
    made = []
    unclear = [line for line in lines if line.verdict == "unclear" and line.value is not None]
    # "Too early to say" beside a finding would only dilute it.
    if unclear and not found:
        names = _listed([metric(line.name).phrase for line in unclear])
        meet = "meets its" if len(unclear) == 1 else "meet their"
        made.append(
            Finding(
                level="note",
                kind="unclear",
                sentence=f"It is too early to say whether {names} {meet} target.",
                action="Wait for more feedback, or choose a longer period.",
            )
        )
    met = [line for line in lines if line.verdict == "met"]
    # Good news beside an alarm reads as an all-clear.
    if met and not any(finding.level in ("alarm", "warning") for finding in found):
        made.append(
            Finding(
                level="good",
                kind="met",
                sentence=f"On target: {_listed([metric(line.name).phrase for line in met])}.",
                action="Nothing needs doing.",
            )
        )
    return made


def _of_version(change: VersionChange, *, calendar: Calendar) -> Finding:
    what = change.dimension.replace("_", " ").capitalize()
    apart = change.difference
    points = 0.0 if apart is None else abs(apart.estimate) * 100
    # When the verdict became certain, which is later than when the version came.
    at_ms = change.detected_at_ms
    when = "" if at_ms is None else f", certain since {date(calendar, at_ms)}"
    is_worse = change.verdict == "regressed"
    return Finding(
        level="alarm" if is_worse else "good",
        kind="regression" if is_worse else "improvement",
        sentence=f"{what} '{change.version}' is rated {points:.1f} points {'worse' if is_worse else 'better'} than "
        f"'{change.baseline}' beside it{when}.",
        action=f"Go back to '{change.baseline}', or take '{change.version}' out of the traffic."
        if is_worse
        else f"Give '{change.version}' more of the traffic.",
        section="versions",
    )


def _of_miss(line: MetricLine, parts: Parts) -> Finding:
    of = metric(line.name)
    side = "below" if line.direction == "above" else "above"
    action, section = _advice(of, parts)
    return Finding(
        level="alarm",
        kind="missed",
        sentence=f"{_begun(of.phrase)} is {line.value or 0.0:.1%}, {side} its target of {line.target:.0%}.",
        action=action,
        section=section,
    )


def _advice(of: Metric, parts: Parts) -> tuple[str, Section | None]:
    """Return the action for a missed target, and the section that supports it, if the report shows one."""
    # Advice names a section only if it has something to show: a link to an empty section costs the reader's
    # trust.
    if of.see == "failures" and parts.failures is not None:
        if parts.failures.patterns:
            phrase = parts.failures.patterns[0].phrase[:_SHOWN_TEXT]
            return f"Start with what people complain of most: “{phrase}”.", "failures"
        if parts.failures.groups:
            return "Read the groups of alike complaints below, largest first.", "failures"
        return "No texts say why yet; send people's comments with the feedback.", None
    if of.see == "corrected" and parts.corrected is not None:
        if parts.corrected:
            return "Look at the most corrected queries below.", "corrected"
        return "No corrected query is known as text; send the question with each call.", None
    return "", None


def _of_joins(joins: JoinHealth) -> Finding:
    task = next((task for task in joins.tasks if task.has_alarm), None)
    found, name = (joins.rate, "") if task is None else (task.rate, f" of task '{task.task}'")
    rate = 0.0 if found is None else found.estimate
    return Finding(
        level="alarm",
        kind="joins",
        sentence=f"Only {rate:.0%} of the outcomes{name} join to a model version.",
        action="Send the request_id or the output's id with each outcome, and model_version with each call.",
        section="joins",
    )


def _of_failed(name: Section, why: str) -> Finding:
    return Finding(
        level="warning",
        kind="left out",
        sentence=f"The section '{name}' is left out: {why.rstrip('.')}.",
        action="The other sections are complete. A fact of this period has a value that the section cannot count.",
    )


def _of_turn(line: MetricLine, turn: Turn, calendar: Calendar) -> Finding:
    """Return the finding about the latest change of a metric that the changepoint test found."""
    is_better = (turn.after > turn.before) == (line.direction == "above")
    return Finding(
        level="good" if is_better else "warning",
        kind="turn",
        sentence=f"{_begun(metric(line.name).phrase)} changed on {date(calendar, turn.at_ms)}, from {turn.before:.1%} "
        f"to {turn.after:.1%}.",
        action="Keep what was changed that day."
        if is_better
        else "Look at what was deployed or changed that day.",
        section="metrics",
    )


def _of_drift(drift: Drifts | None) -> list[Finding]:
    return [
        Finding(
            level="warning",
            kind="drift",
            sentence=f"The traffic has shifted: {item.of} is unlike the period before (PSI {item.psi:.2f}).",
            action="Check whether the rates of the two periods are about the same kind of traffic.",
            section="drift",
        )
        for item in (drift.items if drift else ())
        if item.verdict == "large"
    ]


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
