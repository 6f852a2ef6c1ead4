"""Join health: the share of outcomes that join to a model version, and the facts that wait for their target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from loopwright.stats.intervals import Interval, wilson

LEAST_RATE: Final = 0.9
"""Below this the alarm is raised, as soon as the whole interval lies below it."""


class JoinTally(msgspec.Struct, frozen=True, kw_only=True):
    """Of one task: outcomes, those joined to a model version, facts, those waiting, the oldest of these."""

    task: str | None
    outcomes: int = 0
    joined: int = 0
    facts: int = 0
    waiting: int = 0
    oldest_waiting_ms: int | None = None
    apart: int = 0
    """Outcomes that no call can give a model version: those of a decision alone, which need none."""


class TaskJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Join health of one task; None stands for feedback whose task is unknown."""

    task: str | None
    outcomes: int
    joined: int
    rate: Interval | None
    """Share of the outcomes that could join to a model version and do; None without any that could."""
    facts: int
    waiting: int
    """Facts whose call or decision is not there (yet)."""
    oldest_waiting_s: float | None
    has_alarm: bool


class JoinHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Join health of a tenant over a period."""

    least_rate: float
    outcomes: int
    joined: int
    rate: Interval | None
    waiting: int
    oldest_waiting_s: float | None
    has_alarm: bool
    tasks: tuple[TaskJoin, ...]


def join_health(
    tallies: Sequence[JoinTally], *, now_ms: int, least_rate: float = LEAST_RATE
) -> JoinHealth:
    """Return how well outcomes join, per task and in all; worst task first."""
    tasks = [_task(tally, now_ms, least_rate) for tally in tallies]
    tasks.sort(
        key=lambda task: (
            not task.has_alarm,
            # Beyond every rate, so that tasks without a joinable outcome come last.
            task.rate.estimate if task.rate else 2.0,
            task.task or "",
        )
    )
    outcomes, joined = sum(t.outcomes for t in tallies), sum(t.joined for t in tallies)
    # Outcomes of a decision alone need no call. Counted here, they would raise the alarm for tenants who send
    # no calls at all.
    joinable = outcomes - sum(t.apart for t in tallies)
    ages = [task.oldest_waiting_s for task in tasks if task.oldest_waiting_s is not None]
    rate = wilson(joined, joinable) if joinable else None
    return JoinHealth(
        least_rate=least_rate,
        outcomes=outcomes,
        joined=joined,
        rate=rate,
        waiting=sum(tally.waiting for tally in tallies),
        oldest_waiting_s=max(ages, default=None),
        has_alarm=_is_below(rate, least_rate) or any(task.has_alarm for task in tasks),
        tasks=tuple(tasks),
    )


def _task(tally: JoinTally, now_ms: int, least_rate: float) -> TaskJoin:
    joinable = tally.outcomes - tally.apart
    rate = wilson(tally.joined, joinable) if joinable else None
    oldest = tally.oldest_waiting_ms
    return TaskJoin(
        task=tally.task,
        outcomes=tally.outcomes,
        joined=tally.joined,
        rate=rate,
        facts=tally.facts,
        waiting=tally.waiting,
        # Never below 0: our clock may have been set back since the fact came.
        oldest_waiting_s=None if oldest is None else max(now_ms - oldest, 0) / 1000,
        # An outcome that joins to nothing mostly has no task either: it counts in the rate of all.
        has_alarm=tally.task is not None and _is_below(rate, least_rate),
    )


def _is_below(rate: Interval | None, least_rate: float) -> bool:
    # The whole interval: one unjoined outcome of three is no alarm.
    return rate is not None and rate.high < least_rate
