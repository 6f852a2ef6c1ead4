from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.trigger import (
    DriftBound,
    JoinRate,
    MetricBound,
    Reading,
    Retrain,
    Schedule,
    ThumbsDown,
    Trigger,
    Volume,
)
from loopwright.rollout.conditions import checked, due, retrain, stands
from loopwright.rollout.triggers import Seen


def read(
    value: float | None, low: float | None = None, high: float | None = None, n: int = 500
) -> Reading:
    return Reading(value=value, low=low, high=high, n=n)


@pytest.mark.parametrize(
    ("records", "rating", "down", "standing", "reason"),
    [
        (9, 1.0, 1.0, "unknown", "insufficient_data (n=9)"),
        (10, 2.9, None, "bad", "avg_rating=2.90 < threshold=3.0"),
        (10, 3.0, 0.40, "good", "metrics_healthy"),
        (100, None, 0.41, "bad", "thumbs_down_rate=41.0% > threshold=40%"),
    ],
    ids=["few", "rating", "at the limits", "thumbs"],
)
def test_the_exact_rule_keeps_its_sentences(
    records: int, rating: float | None, down: float | None, standing: str, reason: str
) -> None:
    found = retrain(Retrain(), Seen(records=records, average_rating=rating, thumbs_down_rate=down))
    assert (found.standing, found.reason) == (standing, reason)


@pytest.mark.parametrize(
    ("condition", "reading", "standing"),
    [
        (MetricBound(metric="m", below=0.5), read(0.4, 0.3, 0.49), "bad"),
        (MetricBound(metric="m", below=0.5), read(0.4, 0.3, 0.5), "between"),
        (MetricBound(metric="m", below=0.5), read(0.5, 0.4, 0.6), "good"),
        (MetricBound(metric="m", below=0.5, margin=0.1), read(0.55, 0.5, 0.6), "between"),
        (MetricBound(metric="m", below=0.5, margin=0.1), read(0.6, 0.5, 0.7), "good"),
        (MetricBound(metric="m", below=0.5), read(0.1, 0.0, 0.2, 9), "unknown"),
        (MetricBound(metric="m", below=0.5), read(None, n=0), "unknown"),
        (MetricBound(metric="m", above=0.5), read(0.6, 0.51, 0.7), "bad"),
        (MetricBound(metric="m", above=0.5), read(0.6, 0.5, 0.7), "between"),
        (ThumbsDown(above=0.4), read(0.5, 0.41, 0.6), "bad"),
        (ThumbsDown(above=0.4), read(0.45, 0.4, 0.6), "between"),
        (DriftBound(of="x"), read(0.3, 0.3, 0.3), "bad"),
        (DriftBound(of="x"), read(0.3, 0.0, 0.3), "between"),
        (DriftBound(of="x"), read(0.25, 0.25, 0.25), "good"),
        (DriftBound(of="x"), read(0.3, 0.3, 0.3, 99), "unknown"),
        (JoinRate(below=0.9), read(0.8, 0.7, 0.89), "bad"),
        (JoinRate(below=0.9), read(0.8, 0.7, 0.9), "between"),
        (Volume(below=10), Reading(value=9, n=9), "bad"),
        (Volume(below=10), Reading(value=0, n=0), "bad"),
        (Volume(below=10), Reading(value=10, n=10), "good"),
        (Volume(below=10, above=20, margin=5), Reading(value=16, n=16), "between"),
        (Volume(below=10, above=20, margin=5), Reading(value=15, n=15), "good"),
        (Volume(below=10, above=20), Reading(value=21, n=21), "bad"),
    ],
    ids=str,
)
def test_a_bound_is_crossed_by_the_whole_interval_and_left_by_the_estimate(
    condition: Any, reading: Reading, standing: str
) -> None:
    assert stands(condition, reading).standing == standing


def test_a_reason_names_the_figure_its_interval_and_the_bound() -> None:
    found = stands(MetricBound(metric="satisfaction", below=0.5), read(0.4, 0.3, 0.49))
    assert found.reason == "satisfaction=0.4 [0.3, 0.49] < 0.5 (n=500)"
    few = stands(MetricBound(metric="satisfaction", below=0.5), read(0.4, 0.3, 0.49, 3))
    assert few.reason == "satisfaction: 3 observations, fewer than 10"


@pytest.mark.parametrize(
    ("fired_at_ms", "now_ms", "standing"),
    [
        (None, 159_999, "good"),
        (None, 160_000, "bad"),
        (160_000, 219_999, "good"),
        (219_999, 220_000, "bad"),
        (160_000, 900_000, "bad"),
    ],
)
def test_a_schedule_has_turns_from_the_making_of_its_trigger(
    fired_at_ms: int | None, now_ms: int, standing: str
) -> None:
    every = Schedule(every_s=60)
    trigger = Trigger(
        id="t",
        tenant_id="a",
        condition=every,
        window_days=1,
        cool_down_s=0,
        created_at_ms=100_000,
        fired_at_ms=fired_at_ms,
    )
    assert due(every, trigger, now_ms=now_ms).standing == standing


@pytest.mark.parametrize(
    "condition",
    [
        MetricBound(metric="m"),
        MetricBound(metric="m", below=0.1, above=0.2),
        Volume(),
        Volume(below=5, above=4),
    ],
    ids=str,
)
def test_a_condition_that_cannot_hold_is_refused(condition: Any) -> None:
    with pytest.raises(Invalid):
        checked(condition)
    assert checked(Volume(below=5, above=5)) == Volume(below=5, above=5)
