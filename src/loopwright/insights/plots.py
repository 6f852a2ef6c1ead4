"""Where the marks of the report's small plots stand: numbers in, coordinates out; templates draw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from loopwright.stats.intervals import Interval

from .course import Course
from .metrics import MetricLine

WIDTH: Final = 420
HEIGHT: Final = 150
BAR_WIDTH: Final = 166
DOT_WIDTH: Final = 170
DOT_HEIGHT: Final = 18
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 10, 20
_MARGIN: Final = 6
_MOST_TICKS: Final = 5


class Tick(msgspec.Struct, frozen=True):
    """A labelled line across a plot."""

    y: float
    label: str


class Lone(msgspec.Struct, frozen=True):
    """A plot's only point: no line can be drawn, so it is a dot with its interval."""

    x: float
    y: float
    low: float
    high: float


class CoursePlot(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric went, in pixels; `said` is the plot in words, for screen readers."""

    said: str
    ticks: tuple[Tick, ...]
    lone: Lone | None
    band: str
    line: str
    turns: tuple[float, ...]
    target: float
    first: str
    last: str
    """Empty when the plot has one point."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


class DotPlot(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its interval on a short axis, in pixels."""

    said: str
    x: float
    low: float
    high: float
    target: float
    left: float
    right: float
    width: int = DOT_WIDTH
    height: int = DOT_HEIGHT


def course_plot(line: MetricLine, course: Course, *, date: Callable[[int], str]) -> CoursePlot:
    """Return where the points, interval, changes and target of a metric stand. `course` has a point at least."""
    points = course.points
    values = [p.low for p in points] + [p.high for p in points] + [line.target]
    # Only the part of the axis that is needed: from 0 to 1, a change of three points is a flat line.
    low, high = max(min(values) - 0.02, 0.0), min(max(values) + 0.02, 1.0)
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    start, end = points[0].start_ms, points[-1].start_ms

    def x(at_ms: float) -> float:
        return round(
            _LEFT + (width / 2 if start == end else (at_ms - start) / (end - start) * width), 1
        )

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low or 1) * height, 1)

    # One polygon: forward along the upper ends, back along the lower.
    band = [(x(p.start_ms), y(p.high)) for p in points]
    band += [(x(p.start_ms), y(p.low)) for p in reversed(points)]
    lone = points[0]
    return CoursePlot(
        said=_in_words(course, date),
        ticks=tuple(Tick(y(value), f"{value:.0%}") for value in ticks(low, high)),
        lone=Lone(x(start), y(lone.value), y(lone.low), y(lone.high)) if len(points) == 1 else None,
        band=_path(band),
        line=_path([(x(p.start_ms), y(p.value)) for p in points]),
        turns=tuple(x(turn.at_ms) for turn in course.turns),
        target=y(line.target),
        first=date(start),
        last="" if start == end else date(end),
    )


def dot_plot(said: str, rate: Interval, *, target: float, low: float) -> DotPlot:
    """Return where a rate, its interval and `target` stand on an axis from `low` to 1."""

    def x(value: float) -> float:
        within = (max(value, low) - low) / (1 - low)
        return round(_MARGIN + within * (DOT_WIDTH - 2 * _MARGIN), 1)

    return DotPlot(
        said=said,
        x=x(rate.estimate),
        low=x(rate.low),
        high=x(rate.high),
        target=x(target),
        left=x(low),
        right=x(1),
    )


def bar_width(value: float, most: float) -> float:
    """Return how wide the bar of `value` is where that of `most` fills its cell; never too narrow to be seen."""
    return round(max(value / most, 0.02) * BAR_WIDTH, 1)


def ticks(low: float, high: float) -> list[float]:
    """Return round values within [low, high], five at most."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5):
        # The least multiple of `step` from `low` on: floor division of the negative rounds up.
        first = -(-low // step)
        found = [
            # 3 * 0.1 is 0.30000000000000004.
            round((first + k) * step, 4)
            for k in range(int((high - first * step) // step) + 1)
        ]
        if len(found) <= _MOST_TICKS:
            return found
    return [low, high]


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _in_words(course: Course, date: Callable[[int], str]) -> str:
    said = f"By {course.every}: {course.direction}"
    if course.per_week is not None and course.direction != "steady":
        said += f", {course.per_week.estimate * 100:+.1f} points a week"
    for turn in course.turns:
        said += f"; changed on {date(turn.at_ms)} from {turn.before:.1%} to {turn.after:.1%}"
    return said + "."
