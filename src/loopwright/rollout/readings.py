"""What the conditions of triggers look at, read from the answers that people read too."""

from __future__ import annotations

from typing import assert_never

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import NotFound
from loopwright.core.trigger import (
    Condition,
    DriftBound,
    JoinRate,
    Judged,
    MetricBound,
    Reading,
    Retrain,
    Schedule,
    ThumbsDown,
    Trigger,
    Volume,
)
from loopwright.insights.service import Insights, Stats
from loopwright.insights.targets import metric
from loopwright.stats.intervals import Interval, wilson
from loopwright.warehouse.period import Calendar, Period

from .conditions import due, retrain, stands
from .triggers import Seen

_NOTHING = Reading(value=None)


def window(trigger: Trigger, *, now_ms: int, tz: str) -> Period:
    """Return the window that a trigger judges at a moment; its days are those of the wall clock."""
    calendar = Calendar(tz)
    start = calendar.wall_ms(now_ms) - round(trigger.window_days * DAY_MS)
    return Period(from_ms=calendar.instant_ms(start), to_ms=now_ms, tz=tz)


def check_names(condition: Condition) -> None:
    """Raise `NotFound` for a metric that the catalogue does not have: its trigger would wait for ever."""
    if isinstance(condition, MetricBound):
        metric(condition.metric)


def judged(trigger: Trigger, insights: Insights, of: Period) -> Judged:
    """Return how a trigger's condition stands over the window `of`."""
    condition = trigger.condition
    match condition:
        case Schedule():
            return due(condition, trigger, now_ms=of.to_ms)
        case Retrain():
            return retrain(condition, seen_of(insights.stats(trigger.tenant_id, of)))
        case MetricBound():
            return stands(condition, _metric(trigger, condition, insights, of))
        case ThumbsDown():
            found = insights.stats(trigger.tenant_id, of)
            thumbs = found.thumbs_up + found.thumbs_down
            rate = wilson(found.thumbs_down, thumbs) if thumbs else None
            return stands(condition, _rate(rate))
        case DriftBound():
            return stands(condition, _drift(trigger, condition, insights, of))
        case JoinRate():
            health = insights.join_health(trigger.tenant_id, of)
            rates = {task.task: task.rate for task in health.tasks}
            rate = health.rate if condition.task is None else rates.get(condition.task)
            return stands(condition, _rate(rate))
        case Volume():
            # A window that began before the trigger did may hold little because nobody sent yet.
            if condition.below is not None and of.from_ms < trigger.created_at_ms:
                reason = "volume: the trigger is younger than its window"
                return Judged(standing="unknown", reason=reason)
            n = insights.stats(trigger.tenant_id, of).record_count
            return stands(condition, Reading(value=n, n=n))
        case _:
            assert_never(condition)


def seen_of(found: Stats) -> Seen:
    """Return the figures of a period that the rule of `check-trigger` looks at."""
    thumbs = found.thumbs_up + found.thumbs_down
    return Seen(
        records=found.record_count,
        average_rating=found.average_rating,
        thumbs_down_rate=found.thumbs_down / thumbs if thumbs else None,
    )


def _metric(trigger: Trigger, condition: MetricBound, insights: Insights, of: Period) -> Reading:
    report = insights.report(trigger.tenant_id, of, include=["metrics"])
    for line in report.metrics or ():
        if line.name == condition.metric:
            return Reading(value=line.value, low=line.low, high=line.high, n=line.n)
    # Declared by another process, or its section could not be made: a finding of the report says why.
    raise NotFound(f"the quality report has no metric {condition.metric!r} at this moment")


def _drift(trigger: Trigger, condition: DriftBound, insights: Insights, of: Period) -> Reading:
    report = insights.report(trigger.tenant_id, of, include=["drift"])
    for item in report.drift.items if report.drift else ():
        if item.of == condition.of:
            # Below its noise a large index says that the samples are small, not that anything moved.
            low = item.psi if item.psi > item.noise else 0.0
            n = min(item.before, item.now)
            return Reading(value=item.psi, low=low, high=item.psi, n=n)
    return _NOTHING


def _rate(found: Interval | None) -> Reading:
    if found is None:
        return _NOTHING
    return Reading(value=found.estimate, low=found.low, high=found.high, n=round(found.n))
