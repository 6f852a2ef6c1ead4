"""The metrics that have a target, from tallies: value, interval, verdict, course over time, segments.

Events of one person are not independent. Where people repeat, an interval is drawn over people, and the
number of events that it is worth (`effective_n`) is shown beside the number that there are.

Reference: Kish, "Survey Sampling" (1965), for the design effect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid
from loopwright.stats.intervals import (
    LEVEL,
    Floats,
    Interval,
    TooFew,
    bootstrap,
    clustered,
    difference,
    normal_quantile,
    wilson,
)
from loopwright.stats.trend import changes, slope
from loopwright.warehouse.period import Period, seeded

from .targets import CATALOGUE, Metric, judge

FEW_UNITS: Final = 20
"""Below so many people, resampling them says little: each then counts as one observation at most."""

LONGEST_BY_DAY: Final = 90
"""Periods of more days are drawn and tested by week."""

ALPHA: Final = 0.01
"""Of each metric's changepoint test: five metrics share one chance in twenty of a false alarm."""

_WEEK_DAYS: Final = 7
_STEADY_DAYS: Final = 21

MANY_UNITS: Final = 1000
"""From so many people on, the linearised interval is as good as resampling them, and much cheaper."""

Method = Literal["wilson", "wilson by person", "bootstrap by person", "linearised by person"]


class UnitTally(msgspec.Struct, frozen=True):
    """So many `units` (people, else sessions) had `hits` among `n` each."""

    metric: str
    hits: int
    n: int
    units: int


class DayTally(msgspec.Struct, frozen=True):
    """A metric on one day: `hits` among `n`."""

    metric: str
    day_ms: int
    hits: int
    n: int


class SegmentTally(msgspec.Struct, frozen=True, kw_only=True):
    """What was said about one value of a dimension; None is what does not say."""

    segment: str | None
    facts: int = 0
    ratings: int = 0
    positive: int = 0
    satisfaction: float | None = None
    average_stars: float | None = None
    thumbs_up: int = 0
    thumbs_down: int = 0
    corrections: int = 0
    outcomes: int = 0
    outcome_value: float | None = None
    people: int = 0


class RatedFact(msgspec.Struct, frozen=True):
    """One rating: which fact, whose, and how good on [0, 1]."""

    event_id: str
    unit: str
    value: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its interval: `n` events of `people`, worth `effective_n` independent ones."""

    interval: Interval
    n: int
    effective_n: float
    people: int
    method: Method


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One day or week of a metric."""

    start_ms: int
    value: float
    low: float
    high: float
    n: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_ms` on a metric was another; `p` is how often chance alone splits a series as well."""

    at_ms: int
    before: float
    after: float
    p: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric went over the period."""

    every: Literal["day", "week"]
    points: tuple[TrendPoint, ...]
    turns: tuple[Turn, ...]
    per_week: Interval | None
    """Change per week along a straight line; None with fewer than three points."""
    direction: Literal["improving", "worsening", "steady", "too few"]


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a report: what it is, against what it should be, and how sure that is."""

    name: str
    sentence: str
    direction: Literal["above", "below"]
    target: float
    taxonomy: int
    value: float | None
    """None when there is no data."""
    low: float | None
    high: float | None
    level: float = LEVEL
    n: int
    effective_n: float
    people: int
    method: Method | None
    verdict: Literal["met", "missed", "unclear"]
    reason: str
    previous: float | None
    """In the period of the same length before."""
    change: Interval | None
    """Value - previous, with its interval."""
    weighted: Interval | None
    """By trust, where weights were given."""
    course: Course | None


class SegmentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a dimension; `positive_rate` is the share of positive ratings."""

    segment: str | None
    facts: int
    ratings: int
    positive_rate: Interval | None
    average_rating: float | None
    """Mean on [0, 1]."""
    average_stars: float | None
    thumbs_up: int
    thumbs_down: int
    corrections: int
    outcomes: int
    outcome_value: float | None
    people: int


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfaction by a dimension, commonest values first; `left_out` counts those not listed."""

    dimension: str
    segments: tuple[SegmentLine, ...]
    left_out: int


def metric_lines(
    tenant_id: str,
    of: Period,
    *,
    tallies: Sequence[UnitTally],
    before: Sequence[UnitTally] = (),
    days: Sequence[DayTally] = (),
    weighted: Mapping[str, Interval] | None = None,
) -> tuple[MetricLine, ...]:
    """Return every metric of the catalogue, those without data too."""
    now, then = _by_metric(tallies), _by_metric(before)
    made = []
    for metric in CATALOGUE:
        found = estimate(now[metric.name], rng=seeded(tenant_id, of, metric.name))
        past = estimate(then[metric.name], rng=seeded(tenant_id, of.previous, metric.name))
        course = course_of(
            metric, of, [day for day in days if day.metric == metric.name], tenant_id=tenant_id
        )
        made.append(
            _line(metric, found, past, course=course, weighted=(weighted or {}).get(metric.name))
        )
    return tuple(made)


def estimate(tallies: Sequence[UnitTally], *, rng: np.random.Generator) -> Estimate | None:
    """Return the rate over all units with its interval; None without any event.

    Raises `Invalid` for a tally that cannot be.
    """
    if any(not 0 <= tally.hits <= tally.n or tally.units < 0 for tally in tallies):
        raise Invalid("found a tally with more hits than events, or below 0; expected counts")
    counted = [tally for tally in tallies if tally.n and tally.units]
    n = sum(tally.n * tally.units for tally in counted)
    hits = sum(tally.hits * tally.units for tally in counted)
    people = sum(tally.units for tally in counted)
    if not n:
        return None
    if n == people:
        return _estimate(wilson(hits, n), n=n, people=people, method="wilson")
    if people < FEW_UNITS or hits in (0, n):
        by_person = wilson(hits / n * people, people)
        return _estimate(by_person, n=n, people=people, method="wilson by person")
    repeats = [tally.units for tally in counted]
    rates = np.repeat([tally.hits / tally.n for tally in counted], repeats)
    sizes = np.repeat([float(tally.n) for tally in counted], repeats)
    if people < MANY_UNITS:
        found = bootstrap(rates, np.arange(people), rng=rng, weights=sizes)
        return _estimate(found, n=n, people=people, method="bootstrap by person")
    found = clustered(rates, np.arange(people), weights=sizes)
    within = msgspec.structs.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
    return _estimate(within, n=n, people=people, method="linearised by person")


def design_effect(found: Estimate | None) -> float:
    """Return how many events one independent observation takes; 1 when nobody repeats."""
    return 1.0 if found is None else max(found.n / max(found.effective_n, 1.0), 1.0)


def weighted_rate_of(
    facts: Sequence[RatedFact],
    weights: Mapping[str, float],
    *,
    positive_from: float,
    rng: np.random.Generator,
) -> Interval | None:
    """Return the share of positive ratings when each counts by its trust weight (1 where none is known).

    Drawn over people. None when fewer than two people count.
    """
    codes = {unit: code for code, unit in enumerate(dict.fromkeys(fact.unit for fact in facts))}
    try:
        return bootstrap(
            np.array([float(fact.value >= positive_from) for fact in facts]),
            np.array([codes[fact.unit] for fact in facts], dtype=np.int64),
            rng=rng,
            weights=np.array([weights.get(fact.event_id, 1.0) for fact in facts]),
        )
    except TooFew:
        return None


def course_of(
    metric: Metric, of: Period, days: Sequence[DayTally], *, tenant_id: str
) -> Course | None:
    """Return how `metric` went, by day or, over long periods, by week; None without data."""
    every: Literal["day", "week"] = "day" if of.days <= LONGEST_BY_DAY else "week"
    step = DAY_MS if every == "day" else _WEEK_DAYS * DAY_MS
    # Weeks are counted from the period's first day, so that none but the last is cut short.
    first = of.from_ms - of.from_ms % DAY_MS
    hits: defaultdict[int, int] = defaultdict(int)
    sizes: defaultdict[int, int] = defaultdict(int)
    for day in days:
        start = first + (day.day_ms - first) // step * step
        hits[start] += day.hits
        sizes[start] += day.n
    points = tuple(_point(start, hits[start], sizes[start]) for start in sorted(sizes))
    if not points:
        return None
    times = np.array([point.start_ms for point in points], dtype=np.float64)
    values = np.array([point.value for point in points])
    sized = np.array([float(point.n) for point in points])
    per_week = _per_week(times, values, sized)
    return Course(
        every=every,
        points=points,
        turns=_turns(
            points, values, sized, rng=seeded(tenant_id, of, f"{metric.name} turns"), every=every
        ),
        per_week=per_week,
        direction=_direction(metric, per_week),
    )


def breakdown(
    dimension: str, tallies: Sequence[SegmentTally], *, design: float = 1.0, most: int = 20
) -> Breakdown:
    """Return the segments of a dimension; intervals are as wide as `design` events per observation make them."""
    ranked = sorted(tallies, key=lambda tally: (-tally.facts, tally.segment or ""))
    return Breakdown(
        dimension=dimension,
        segments=tuple(_segment(tally, design) for tally in ranked[:most]),
        left_out=max(len(ranked) - most, 0),
    )


def _by_metric(tallies: Sequence[UnitTally]) -> defaultdict[str, list[UnitTally]]:
    found: defaultdict[str, list[UnitTally]] = defaultdict(list)
    for tally in tallies:
        found[tally.metric].append(tally)
    return found


def _estimate(interval: Interval, *, n: int, people: int, method: Method) -> Estimate:
    if method in ("bootstrap by person", "linearised by person"):
        error = (interval.high - interval.low) / (2 * normal_quantile(interval.level))
        spread = interval.estimate * (1 - interval.estimate)
        effective = min(spread / error**2, float(n)) if error else float(people)
    else:
        effective = interval.n
    return Estimate(interval=interval, n=n, effective_n=effective, people=people, method=method)


def _line(
    metric: Metric,
    found: Estimate | None,
    past: Estimate | None,
    *,
    course: Course | None,
    weighted: Interval | None,
) -> MetricLine:
    interval = None if found is None else found.interval
    judged = judge(metric, interval)
    return MetricLine(
        name=metric.name,
        sentence=metric.sentence,
        direction=metric.direction,
        target=metric.target,
        taxonomy=metric.taxonomy,
        value=None if interval is None else interval.estimate,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        n=0 if found is None else found.n,
        effective_n=0.0 if found is None else found.effective_n,
        people=0 if found is None else found.people,
        method=None if found is None else found.method,
        verdict=judged.verdict,
        reason=judged.reason,
        previous=None if past is None else past.interval.estimate,
        change=None if interval is None or past is None else difference(interval, past.interval),
        weighted=weighted,
        course=course,
    )


def _point(start_ms: int, hits: int, n: int) -> TrendPoint:
    found = wilson(hits, n)
    return TrendPoint(start_ms=start_ms, value=found.estimate, low=found.low, high=found.high, n=n)


def _per_week(times: Floats, values: Floats, sizes: Floats) -> Interval | None:
    try:
        return slope(times / (_WEEK_DAYS * DAY_MS), values, weights=sizes)
    except TooFew:
        return None


def _direction(
    metric: Metric, per_week: Interval | None
) -> Literal["improving", "worsening", "steady", "too few"]:
    if per_week is None:
        return "too few"
    if per_week.low <= 0 <= per_week.high:
        return "steady"
    is_up = per_week.low > 0
    return "improving" if is_up == (metric.direction == "above") else "worsening"


def _turns(
    points: Sequence[TrendPoint],
    values: Floats,
    sizes: Floats,
    *,
    rng: np.random.Generator,
    every: Literal["day", "week"],
) -> tuple[Turn, ...]:
    level = _without_weekdays(points, values, sizes) if every == "day" else values
    found = changes(level, weights=sizes, rng=rng, alpha=ALPHA)
    edges = [0, *(change.at for change in found), len(points)]
    # The means shown are those of the series itself, not of the one that the test saw.
    means = [
        float(np.average(values[start:end], weights=sizes[start:end]))
        for start, end in pairwise(edges)
    ]
    return tuple(
        Turn(
            at_ms=points[change.at].start_ms,
            before=means[position],
            after=means[position + 1],
            p=change.p,
        )
        for position, change in enumerate(found)
    )


def _without_weekdays(points: Sequence[TrendPoint], values: Floats, sizes: Floats) -> Floats:
    """Return `values` less what is usual on their weekday: the test takes days as interchangeable.

    Over fewer than three weeks a weekday's usual value is not known, so they are left as they are.
    """
    if len(points) < _STEADY_DAYS:
        return values
    weekdays = np.array([point.start_ms // DAY_MS % _WEEK_DAYS for point in points])
    level, whole = values.copy(), float(np.average(values, weights=sizes))
    for weekday in np.unique(weekdays):
        here = weekdays == weekday
        level[here] -= float(np.average(values[here], weights=sizes[here])) - whole
    return level


def _segment(tally: SegmentTally, design: float) -> SegmentLine:
    rate = None
    if tally.ratings:
        n = max(tally.ratings / design, 1.0)
        rate = wilson(tally.positive / tally.ratings * n, n)
    return SegmentLine(
        segment=tally.segment,
        facts=tally.facts,
        ratings=tally.ratings,
        positive_rate=rate,
        average_rating=tally.satisfaction,
        average_stars=tally.average_stars,
        thumbs_up=tally.thumbs_up,
        thumbs_down=tally.thumbs_down,
        corrections=tally.corrections,
        outcomes=tally.outcomes,
        outcome_value=tally.outcome_value,
        people=tally.people,
    )
