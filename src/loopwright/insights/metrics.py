"""The metrics that have a target, from tallies: value, interval, verdict, course over time.

Events of one person are not independent. Where people repeat, an interval is drawn over people, and the
number of events that it is worth (`effective_n`) is shown beside the number that there are.

Reference: Kish, "Survey Sampling" (1965), for the design effect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import (
    LEVEL,
    Interval,
    TooFew,
    bootstrap,
    clustered,
    difference,
    normal_quantile,
    wilson,
)
from loopwright.warehouse.period import Period, seeded

from .course import Course, course_of
from .tallies import DayTally, UnitTally
from .targets import Direction, Metric, catalogue, judge

FEW_UNITS: Final = 20
"""Below so many people, resampling them says little: each then counts as one observation at most."""

MANY_UNITS: Final = 1000
"""From so many people on, the linearised interval is as good as resampling them, and much cheaper."""

Method = Literal["wilson", "wilson by person", "bootstrap by person", "linearised by person"]


class RatedFact(msgspec.Struct, frozen=True):
    """One rating: the fact, its unit, and the value on [0, 1]."""

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


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a report: its value with an interval, its target and the verdict."""

    name: str
    title: str = ""
    """The metric's name for people."""
    sentence: str
    direction: Direction
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


def metric_lines(
    tenant_id: str,
    of: Period,
    *,
    tallies: Sequence[UnitTally],
    before: Sequence[UnitTally] = (),
    days: Sequence[DayTally] = (),
    weighted: Mapping[str, Interval] | None = None,
) -> tuple[MetricLine, ...]:
    """Return a line for every metric of the catalogue, those without data too."""
    now, then = _by_metric(tallies), _by_metric(before)
    made = []
    for metric in catalogue():
        # A generator per metric: declaring another one leaves the intervals of the rest as they were.
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

    Raises `Invalid` for an impossible tally.
    """
    if any(not 0 <= tally.hits <= tally.n or tally.units < 0 for tally in tallies):
        raise Invalid("found a tally with more hits than events, or below 0; expected counts")
    counted = [tally for tally in tallies if tally.n and tally.units]
    n = sum(tally.n * tally.units for tally in counted)
    hits = sum(tally.hits * tally.units for tally in counted)
    people = sum(tally.units for tally in counted)
    if not n:
        return None
    # Nobody repeats, so events are independent and Wilson's interval (1927) holds, for small counts too.
    if n == people:
        return _estimate(wilson(hits, n), n=n, people=people, method="wilson")
    # Where all agree, every resample is the same and a bootstrap's interval has no width.
    if people < FEW_UNITS or hits in (0, n):
        by_person = wilson(hits / n * people, people)
        return _estimate(by_person, n=n, people=people, method="wilson by person")
    repeats = [tally.units for tally in counted]
    # Tallies group people with equal figures; resampling needs each of them.
    rates = np.repeat([tally.hits / tally.n for tally in counted], repeats)
    sizes = np.repeat([float(tally.n) for tally in counted], repeats)
    if people < MANY_UNITS:
        found = bootstrap(rates, np.arange(people), rng=rng, weights=sizes)
        return _estimate(found, n=n, people=people, method="bootstrap by person")
    found = clustered(rates, np.arange(people), weights=sizes)
    # A linearised interval is symmetric about the rate and may leave [0, 1].
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
    # By first appearance and not by hash, so that the same facts give the same resamples.
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


def _by_metric(tallies: Sequence[UnitTally]) -> defaultdict[str, list[UnitTally]]:
    found: defaultdict[str, list[UnitTally]] = defaultdict(list)
    for tally in tallies:
        found[tally.metric].append(tally)
    return found


def _estimate(interval: Interval, *, n: int, people: int, method: Method) -> Estimate:
    if method in ("bootstrap by person", "linearised by person"):
        # Kish's effective size, n = p (1 - p) / SE^2, with the standard error taken back from the interval.
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
        title=metric.title,
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
