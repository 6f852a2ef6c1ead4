from __future__ import annotations

import math

import pytest

from loopwright.core.feedback import Rating

HUGE = 1.7e308


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (4, 1, 5, 0.75),
        (HUGE, -HUGE, HUGE, 1.0),
        (-HUGE, -HUGE, HUGE, 0.0),
        (0.0, -HUGE, HUGE, 0.5),
        (5e-324, 0.0, 5e-324, 1.0),
    ],
)
def test_a_rating_on_the_unit_scale_is_finite_whatever_its_bounds(value, low, high, expected):
    found = Rating(value, "numeric", low, high).satisfaction

    assert math.isfinite(found)
    assert found == expected
