"""How a trigger's condition stands, by what was read. Pure.

A condition with an interval holds only when the whole interval lies beyond the bound, and is over once the estimate
itself is back past the bound by the margin: between the two nothing changes, so a figure that wavers fires once.
"""

from __future__ import annotations

from typing import Final, assert_never

from loopwright.core.errors import Invalid
from loopwright.core.trigger import (
    Condition,
    DriftBound,
    JoinRate,
    Judged,
    MetricBound,
    Reading,
    Retrain,
    Schedule,
    Standing,
    ThumbsDown,
    Trigger,
    Volume,
)

from .triggers import Limits, Seen, judge

_DAY_S: Final = 86_400


def checked(condition: Condition) -> Condition:
    """Return a condition that can hold; raises `Invalid` for one without a bound, or with two."""
    if isinstance(condition, MetricBound) and (condition.below is None) == (
        condition.above is None
    ):
        raise Invalid("a condition on a metric takes one bound; give either below or above")
    if isinstance(condition, Volume):
        if condition.below is None and condition.above is None:
            raise Invalid("a condition on the volume takes a bound; give below, above or both")
        if None not in (condition.below, condition.above) and condition.below > condition.above:  # type: ignore[operator]
            raise Invalid(
                f"the volume cannot lie both below {condition.below} and above {condition.above}: "
                "below must not be more than above"
            )
    return condition


def retrain(condition: Retrain, seen: Seen) -> Judged:
    """Return how the rule of `check-trigger` stands; the sentences are its own, word for word."""
    verdict = judge(
        seen,
        Limits(
            least_records=condition.least_records,
            least_rating=condition.least_rating,
            most_thumbs_down=condition.most_thumbs_down,
        ),
    )
    # Too few records say nothing: neither that the cause stands nor that it is over.
    known: Standing = "good" if seen.records >= condition.least_records else "unknown"
    return Judged(
        standing="bad" if verdict.is_fired else known,
        reason=verdict.reason,
        reading=Reading(value=seen.average_rating, n=seen.records),
    )


def stands(
    condition: MetricBound | ThumbsDown | DriftBound | JoinRate | Volume, read: Reading
) -> Judged:
    """Return how a condition with a bound stands by what was read."""
    match condition:
        case MetricBound(metric=name, below=below, above=above):
            least, margin = condition.least_n, condition.margin
        case ThumbsDown(above=above):
            name, below, least, margin = "thumbs_down", None, condition.least_n, condition.margin
        case DriftBound(of=of, above=above):
            name, below, least, margin = f"psi({of})", None, condition.least_n, condition.margin
        case JoinRate(below=below):
            name, above, least, margin = "join_rate", None, condition.least_n, condition.margin
        case Volume(below=below, above=above):
            name, least, margin = "volume", 0, float(condition.margin)
        case _:
            assert_never(condition)
    if read.value is None or read.n < least:
        reason = f"{name}: {read.n} observations, fewer than {max(least, 1)}"
        return Judged(standing="unknown", reason=reason, reading=read)
    low = read.value if read.low is None else read.low
    high = read.value if read.high is None else read.high
    shown = (
        f"{name}={read.value:g}"
        if low == high
        else f"{name}={read.value:.4g} [{low:.4g}, {high:.4g}]"
    )
    standing, said = _beyond(read.value, (low, high), below=below, above=above, margin=margin)
    return Judged(standing=standing, reason=f"{shown} {said} (n={read.n})", reading=read)


def due(condition: Schedule, trigger: Trigger, *, now_ms: int) -> Judged:
    """Return whether a turn of the schedule has begun since the latest firing."""
    every_ms = condition.every_s * 1000
    turn = (now_ms - trigger.created_at_ms) // every_ms
    # Turns that passed while nothing ran are made up for by one firing, not by as many.
    last = (
        0
        if trigger.fired_at_ms is None
        else (trigger.fired_at_ms - trigger.created_at_ms) // every_ms
    )
    reason = f"schedule: turn {turn}, every {condition.every_s} s"
    return Judged(standing="bad" if turn > last else "good", reason=reason)


def _beyond(
    value: float,
    interval: tuple[float, float],
    *,
    below: float | None,
    above: float | None,
    margin: float,
) -> tuple[Standing, str]:
    low, high = interval
    if below is not None and high < below:
        return "bad", f"< {below:g}"
    if above is not None and low > above:
        return "bad", f"> {above:g}"
    is_back = (below is None or value >= below + margin) and (
        above is None or value <= above - margin
    )
    bounds = [f"below {below:g}"] if below is not None else []
    bounds += [f"above {above:g}"] if above is not None else []
    if is_back:
        return "good", f"is not {' or '.join(bounds)}"
    return "between", f"is not surely {' or '.join(bounds)}, nor back by the margin of {margin:g}"
