"""A metric over a period: its values by day or week, the trend, and the changes of its level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.stats.intervals import Floats, Interval, TooFew, wilson
from loopwright.stats.trend import changes, slope
from loopwright.warehouse.period import Period, seeded

from .tallies import DayTally
from .targets import Metric

LONGEST_BY_DAY: Final = 90
"""Periods of more days are drawn and tested by week."""

ALPHA: Final = 0.01
"""Of each metric's changepoint test: five metrics share one chance in twenty of a false alarm."""

_WEEK_DAYS: Final = 7
_STEADY_DAYS: Final = 21

Every = Literal["day", "week"]
Trend = Literal["improving", "worsening", "steady", "too few"]


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One day or week of a metric."""

    start_ms: int
    value: float
    low: float
    high: float
    n: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's level changed at `at_ms`; `p` is how often chance alone splits a series as well."""

    at_ms: int
    before: float
    after: float
    p: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric went over the period."""

    every: Every
    points: tuple[TrendPoint, ...]
    turns: tuple[Turn, ...]
    per_week: Interval | None
    """Change per week along a straight line; None with fewer than three points."""
    direction: Trend


def course_of(
    metric: Metric, of: Period, days: Sequence[DayTally], *, tenant_id: str
) -> Course | None:
    """Return how `metric` went, by day or, over long periods, by week; None without data."""
    every: Every = "day" if of.days <= LONGEST_BY_DAY else "week"
    step = 1 if every == "day" else _WEEK_DAYS
    calendar = of.calendar
    # Days are told apart by number: in milliseconds some are 23 or 25 hours long. Weeks are counted from the
    # period's first day, so that none but the last is cut short.
    first = calendar.day(of.from_ms)
    hits: defaultdict[int, int] = defaultdict(int)
    sizes: defaultdict[int, int] = defaultdict(int)
    for day in days:
        start = first + (calendar.day(day.day_ms) - first) // step * step
        hits[start] += day.hits
        sizes[start] += day.n
    numbers = sorted(sizes)
    points = tuple(_point(calendar.start_ms(k), hits[k], sizes[k]) for k in numbers)
    if not points:
        return None
    values = np.array([point.value for point in points])
    sized = np.array([float(point.n) for point in points])
    per_week = _per_week(np.array(numbers, dtype=np.float64), values, sized)
    level = _without_weekdays(numbers, values, sized) if every == "day" else values
    # The test shuffles; a seed of the report's own makes the same report find the same changes.
    rng = seeded(tenant_id, of, f"{metric.name} turns")
    return Course(
        every=every,
        points=points,
        turns=_turns(points, values, sized, level=level, rng=rng),
        per_week=per_week,
        direction=_direction(metric, per_week),
    )


def _point(start_ms: int, hits: int, n: int) -> TrendPoint:
    found = wilson(hits, n)
    return TrendPoint(start_ms=start_ms, value=found.estimate, low=found.low, high=found.high, n=n)


def _per_week(days: Floats, values: Floats, sizes: Floats) -> Interval | None:
    try:
        # Weighted by size: a day with three ratings says less than one with three hundred.
        return slope(days / _WEEK_DAYS, values, weights=sizes)
    except TooFew:
        return None


def _direction(metric: Metric, per_week: Interval | None) -> Trend:
    if per_week is None:
        return "too few"
    # A slope whose interval holds 0 may be noise, so no direction is claimed.
    if per_week.low <= 0 <= per_week.high:
        return "steady"
    is_up = per_week.low > 0
    return "improving" if is_up == (metric.direction == "above") else "worsening"


def _turns(
    points: Sequence[TrendPoint],
    values: Floats,
    sizes: Floats,
    *,
    level: Floats,
    rng: np.random.Generator,
) -> tuple[Turn, ...]:
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


def _without_weekdays(days: Sequence[int], values: Floats, sizes: Floats) -> Floats:
    """Return `values` less the mean of their weekday, since the test takes days as interchangeable.

    Over fewer than three weeks a weekday's usual value is not known, so they are left as they are.
    """
    # With fewer than three values per weekday, taking out its mean takes out the change that is looked for.
    if len(days) < _STEADY_DAYS:
        return values
    weekdays = np.array(days) % _WEEK_DAYS
    level, whole = values.copy(), float(np.average(values, weights=sizes))
    for weekday in np.unique(weekdays):
        here = weekdays == weekday
        level[here] -= float(np.average(values[here], weights=sizes[here])) - whole
    return level
