"""The quality metrics and the targets that a team has agreed on: one declaration per metric.

A declaration names the events that count, the events among which they count, the unit and the target. The queries,
the report with its findings, the page, the statistics and the table in the reference follow from it: adding a
metric is adding one `Metric` to `CATALOGUE`, or handing one to `declare` from a package of your own.

Every metric names the taxonomy version its definition belongs to. When a definition changes, its version grows,
so that points of different definitions can be kept apart.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.stats.intervals import Interval
from loopwright.warehouse.queries import POSITIVE, SESSIONS_SQL

TAXONOMY: Final = 1
"""The version of the definitions below."""

RELATIONS: Final = ("decisions", "feedback", "interactions", "linked", "steps", "wide")
"""What a metric's events can be read from: tables and relations of `docs/reference/queries.md`."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SQL_TASKS: Final = "('sql', 'sql_generation', 'text_to_sql')"

Direction = Literal["above", "below"]
Shown = Literal["failures", "corrected"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its definition and its target: better `above` or `below` it."""

    name: str
    title: str
    """Over its card on the page."""
    phrase: str
    """As a sentence names it: "the correction rate"."""
    sentence: str
    """Which events count, among which."""
    unit: str
    """The independent observation: a person, a session or a call."""
    direction: Direction
    target: float
    reads: tuple[str, ...]
    """The relations that `events` reads, of `RELATIONS`."""
    events: str
    """A SELECT of one row per event, in the SQL that the engines share: `unit` (VARCHAR), `moment_ms` (BIGINT), and
    `is_hit`, 1 where the event is what the metric counts and else 0. It names no tenant and no period: the
    relations hold one tenant's rows of one period already."""
    see: Shown | None = None
    """The section of the report that shows what to mend when the target is missed."""
    taxonomy: int = TAXONOMY


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's verdict. "unclear" while the interval holds the target."""

    metric: Metric
    verdict: Literal["met", "missed", "unclear"]
    interval: Interval | None
    reason: str


CATALOGUE: Final = (
    Metric(
        name="satisfaction",
        title="Satisfaction",
        phrase="satisfaction",
        sentence="Ratings that are positive (thumbs up, or at least 4 of 5 stars), among all ratings.",
        unit="the person, else the decision's unit, the session, or the rating itself",
        direction="above",
        target=0.85,
        see="failures",
        reads=("linked",),
        events=f"""
SELECT coalesce(person, unit_id, session_id, event_id) AS unit, occurred_at_ms AS moment_ms,
    CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END AS is_hit
FROM linked WHERE kind = 'rating' AND satisfaction IS NOT NULL""",  # noqa: S608 - our own constants
    ),
    Metric(
        name="sql_accuracy",
        title="SQL accuracy",
        phrase="SQL accuracy",
        sentence="SQL answers whose outcome was right, among SQL answers with a known outcome.",
        unit="the session of a step; of an outcome the person, else the session, the unit, or the outcome itself",
        direction="above",
        target=0.90,
        see="failures",
        reads=("linked", "steps"),
        events=f"""
SELECT session_id AS unit, taken_at_ms AS moment_ms, CASE WHEN outcome = 'success' THEN 1 ELSE 0 END AS is_hit
FROM steps WHERE kind = 'sql_generation' AND outcome IS NOT NULL
UNION ALL
SELECT coalesce(person, session_id, unit_id, event_id), occurred_at_ms, CASE WHEN value >= 0.5 THEN 1 ELSE 0 END
FROM linked WHERE kind = 'outcome' AND task IN {_SQL_TASKS}""",  # noqa: S608 - our own constants
    ),
    Metric(
        name="correction",
        title="Corrections",
        phrase="the correction rate",
        sentence="Answers that were corrected, among all answers.",
        unit="the person, else the session, or the call itself",
        direction="below",
        target=0.10,
        see="corrected",
        reads=("wide",),
        events="""
SELECT coalesce(person, session_id, CAST(log_offset AS VARCHAR)) AS unit, started_at_ms AS moment_ms,
    CASE WHEN corrections > 0 THEN 1 ELSE 0 END AS is_hit
FROM wide""",
    ),
    Metric(
        name="refinement",
        title="Refinements",
        phrase="the refinement rate",
        sentence="Queries that the same session asked again in other words, among all queries.",
        unit="the person, else the session, or the call itself",
        direction="below",
        target=0.20,
        see="failures",
        reads=("wide",),
        events="""
SELECT coalesce(person, session_id, CAST(log_offset AS VARCHAR)) AS unit, started_at_ms AS moment_ms,
    CASE WHEN is_refined THEN 1 ELSE 0 END AS is_hit
FROM wide""",
    ),
    Metric(
        name="abandonment",
        title="Abandonment",
        phrase="the abandonment rate",
        sentence="Sessions that end without a result being used, among all sessions that have ended.",
        unit="the session",
        direction="below",
        target=0.15,
        see="failures",
        reads=("interactions", "linked"),
        events=f"""
SELECT session_id AS unit, started_at_ms AS moment_ms, abandoned AS is_hit
FROM ({SESSIONS_SQL}) AS sessions WHERE signals > 0""",  # noqa: S608 - our own constants
    ),
)
"""The metrics that every report has."""

_declared: Final[dict[str, Metric]] = {found.name: found for found in CATALOGUE}


def declare(of: Metric) -> Metric:
    """Add a metric to the catalogue of this process and return it; declare before you serve or report.

    Raises `Conflict` for a name that is taken, `Invalid` for a name, target or relation that cannot be.
    """
    if not _NAME.fullmatch(of.name):
        raise Invalid(
            f"a metric is named '{of.name[:40]}'; expected lower-case letters, digits and underscores"
        )
    if not 0 < of.target < 1:
        raise Invalid(
            f"the target of {of.name} is {of.target}; a rate's target lies between 0 and 1"
        )
    if not of.reads or (foreign := sorted(set(of.reads) - set(RELATIONS))):
        found = foreign[0] if of.reads else "nothing"
        raise Invalid(f"{of.name} reads {found}; expected some of {', '.join(RELATIONS)}")
    # The same declaration again is harmless: a module may be imported twice.
    if _declared.setdefault(of.name, of) != of:
        raise Conflict(f"there is a metric '{of.name}' already, with another definition")
    return of


def catalogue() -> tuple[Metric, ...]:
    """Return every metric: the built-in ones, then the declared ones in order."""
    return tuple(_declared.values())


def metric(name: str) -> Metric:
    """Return a metric of the catalogue; raises `NotFound` for another name."""
    if name not in _declared:
        raise NotFound(f"there is no metric {name!r}; the catalogue has {', '.join(_declared)}")
    return _declared[name]


def judge(of: Metric, interval: Interval | None) -> Judged:
    """Return whether `of` meets its target, as far as the interval tells; None stands for no data.

    A target is strict: a rate exactly on it has not met it.
    """
    if interval is None:
        return Judged(metric=of, verdict="unclear", interval=None, reason="no data in this period")
    is_above = of.direction == "above"
    # The whole interval must lie on the good side: a rate that only looks good on few events has met nothing.
    clears = interval.low > of.target if is_above else interval.high < of.target
    fails = interval.high <= of.target if is_above else interval.low >= of.target
    verdict: Literal["met", "missed", "unclear"] = (
        "met" if clears else "missed" if fails else "unclear"
    )
    said = (
        f"{of.name} is {interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%}); "
        f"target {of.direction} {of.target:.0%}"
    )
    more = "; more data will tell" if verdict == "unclear" else ""
    return Judged(metric=of, verdict=verdict, interval=interval, reason=said + more)
