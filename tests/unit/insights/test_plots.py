from __future__ import annotations

import pytest

from loopwright.insights.plots import BAR_WIDTH, DOT_WIDTH, bar_width, dot_plot, ticks
from loopwright.stats.intervals import Interval


def test_a_dot_stands_between_the_ends_of_its_interval_and_inside_the_plot() -> None:
    rate = Interval(estimate=0.8, low=0.7, high=0.9, n=10)
    plot = dot_plot("said", rate, target=0.85, low=0.6)

    assert 0 < plot.left < plot.low < plot.x < plot.target < plot.high < plot.right < DOT_WIDTH


def test_what_lies_below_the_axis_is_drawn_at_its_start() -> None:
    plot = dot_plot("said", Interval(estimate=0.1, low=0, high=0.9, n=1), target=0.85, low=0.5)

    assert plot.x == plot.low == plot.left


def test_the_narrowest_bar_can_still_be_seen() -> None:
    assert bar_width(5, 5) == BAR_WIDTH
    assert bar_width(1e-9, 5) > 3


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.8, 0.9), (0.0, 0.04), (0.851, 0.852)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    found = ticks(low, high)

    assert len(found) <= 5
    assert all(low <= value <= high for value in found)
