"""What quality means, in numbers a team has agreed on.

Every metric names the taxonomy version its definition belongs to. When a definition changes, its version
grows, and `lines` keeps points of different definitions on different lines: a trend never mixes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from loopwright.core.errors import NotFound
from loopwright.stats.intervals import Interval

TAXONOMY: Final = 1
"""The version of the definitions below."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its definition and its target: better `above` or `below` it."""

    name: str
    sentence: str
    """What is counted, among what."""
    direction: Literal["above", "below"]
    target: float
    taxonomy: int = TAXONOMY


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's verdict. "unclear" while the interval holds the target."""

    metric: Metric
    verdict: Literal["met", "missed", "unclear"]
    interval: Interval | None
    reason: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One period's value of a metric, as it was defined then."""

    metric: str
    taxonomy: int
    start_ms: int
    interval: Interval


CATALOGUE: Final = (
    Metric(
        name="satisfaction",
        sentence="Ratings that are positive (thumbs up, or at least 4 of 5 stars), among all ratings.",
        direction="above",
        target=0.85,
    ),
    Metric(
        name="sql_accuracy",
        sentence="SQL answers whose outcome was right, among SQL answers with a known outcome.",
        direction="above",
        target=0.90,
    ),
    Metric(
        name="correction",
        sentence="Answers that somebody corrected, among all answers.",
        direction="below",
        target=0.10,
    ),
    Metric(
        name="refinement",
        sentence="Queries that the same session asked again in other words, among all queries.",
        direction="below",
        target=0.20,
    ),
    Metric(
        name="abandonment",
        sentence="Sessions that end without a result being used, among all sessions that have ended.",
        direction="below",
        target=0.15,
    ),
)


def metric(name: str) -> Metric:
    """Return a metric of the catalogue; raises `NotFound` for another name."""
    for found in CATALOGUE:
        if found.name == name:
            return found
    known = ", ".join(found.name for found in CATALOGUE)
    raise NotFound(f"there is no metric {name!r}; the catalogue has {known}")


def judge(of: Metric, interval: Interval | None) -> Judged:
    """Return whether `of` meets its target, as far as the interval tells; None stands for no data.

    A target is strict: a rate exactly on it has not met it.
    """
    if interval is None:
        return Judged(metric=of, verdict="unclear", interval=None, reason="no data in this period")
    is_above = of.direction == "above"
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


def lines(points: Iterable[Point]) -> dict[tuple[str, int], tuple[Point, ...]]:
    """Return the trend lines of `points` by metric and taxonomy version, each in order of time."""
    found: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        found.setdefault((point.metric, point.taxonomy), []).append(point)
    return {key: tuple(sorted(line, key=lambda p: p.start_ms)) for key, line in found.items()}
