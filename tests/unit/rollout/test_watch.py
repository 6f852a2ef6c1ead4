from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.rollout.watch import Watch


def test_a_drop_is_seen_within_some_hundred_ratings():
    rng = np.random.default_rng(2)
    watch = Watch.over(0.8, margin=0.01)
    for value in rng.binomial(4, 0.65, size=300) / 4:
        watch = watch.after(float(value))
    assert watch.has_dropped


def test_a_drop_after_long_good_times_is_seen_as_well():
    rng = np.random.default_rng(3)
    watch = Watch.over(0.8, margin=0.01)
    for value in (*rng.binomial(4, 0.85, size=3000), *rng.binomial(4, 0.65, size=300)):
        watch = watch.after(float(value) / 4)
    assert watch.has_dropped


def test_without_a_drop_there_is_hardly_ever_an_alarm():
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(100):
        watch = Watch.over(0.8, margin=0.01)
        for value in rng.binomial(4, 0.8, size=400) / 4:
            watch = watch.after(float(value))
        alarms += watch.has_dropped
    # 1 % of a hundred, and three standard errors.
    assert alarms <= 4


def test_the_state_travels_as_a_value():
    watch = Watch.over(0.5, margin=0.1).after(0.2).after(0.9)
    again = msgspec.json.decode(msgspec.json.encode(watch), type=Watch)
    assert again == watch
    assert again.after(0.0) == watch.after(0.0)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_values_outside_the_range_are_refused(value):
    with pytest.raises(Invalid, match="from 0 to 1"):
        Watch.over(0.5, margin=0.1).after(value)


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.0), (0.05, 0.05), (1.2, 0.1)])
def test_a_watch_needs_room_below_the_mean(mean, margin):
    with pytest.raises(Invalid, match="between 0 and 1"):
        Watch.over(mean, margin=margin)
