from __future__ import annotations

import pytest

from loopwright.rollout.triggers import Limits, Seen, Verdict, judge


def seen(records: int, rating: float | None = 4.0, down: float | None = 0.1) -> Seen:
    return Seen(records=records, average_rating=rating, thumbs_down_rate=down)


@pytest.mark.parametrize(
    ("figures", "is_fired", "reason"),
    [
        (seen(0, None, None), False, "insufficient_data (n=0)"),
        (seen(9, 1.0, 1.0), False, "insufficient_data (n=9)"),
        (seen(10, 2.9), True, "avg_rating=2.90 < threshold=3.0"),
        (seen(10, 2.9, 0.9), True, "avg_rating=2.90 < threshold=3.0"),
        (seen(10, 3.0), False, "metrics_healthy"),
        (seen(100, 3.5, 0.41), True, "thumbs_down_rate=41.0% > threshold=40%"),
        (seen(100, 3.5, 0.40), False, "metrics_healthy"),
        (seen(100, None, 0.41), True, "thumbs_down_rate=41.0% > threshold=40%"),
        (seen(100, None, None), False, "metrics_healthy"),
        (seen(10, 4.5, 0.0), False, "metrics_healthy"),
    ],
)
def test_it_fires_beyond_a_limit_and_not_at_it(figures: Seen, is_fired: bool, reason: str) -> None:
    assert judge(figures) == Verdict(is_fired=is_fired, reason=reason)


def test_the_limits_can_be_others() -> None:
    strict = Limits(least_records=2, least_rating=4.5, most_thumbs_down=0.05)
    assert judge(seen(2, 4.4), strict).reason == "avg_rating=4.40 < threshold=4.5"
    assert judge(seen(2, 4.6, 0.5), strict).reason == "thumbs_down_rate=50.0% > threshold=5%"
