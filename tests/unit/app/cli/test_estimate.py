from __future__ import annotations

import random

import pytest

from loopwright.app.cli.estimate import Tally


def test_nothing_seen_is_nothing_known() -> None:
    assert Tally().estimate() is None


def test_rewards_of_0_and_1_get_wilsons_interval() -> None:
    tally = Tally()
    for reward in [1.0] * 2 + [0.0] * 8:
        tally.add(reward)
    found = tally.estimate()
    assert found is not None
    # The textbook interval of two successes in ten.
    assert (found.low, found.high) == pytest.approx((0.05668215, 0.50983752), abs=1e-7)
    assert (found.mean, found.effective) == (0.2, 10)


def test_weights_correct_for_what_the_log_preferred() -> None:
    rng = random.Random(1)
    tally = Tally()
    for _ in range(20_000):
        # Half of the traffic earns 1 and was logged at 0.8, half earns 0 and was logged at 0.2.
        earns = rng.random() < 0.5
        if rng.random() < (0.8 if earns else 0.2):
            tally.add(float(earns), 1 / (0.8 if earns else 0.2))
    found = tally.estimate()
    assert found is not None
    assert found.mean == pytest.approx(0.5, abs=0.02)
    assert found.low < 0.5 < found.high
    assert found.effective < tally.rows


def test_the_normal_interval_covers_as_often_as_it_says() -> None:
    rng = random.Random(2)
    covered = 0
    for _ in range(400):
        tally = Tally()
        for _ in range(80):
            tally.add(rng.uniform(0, 2), rng.choice([1.0, 3.0]))
        found = tally.estimate()
        assert found is not None
        covered += found.low <= 1.0 <= found.high
    # 400 trials at 95 %: six standard deviations below is 0.885.
    assert covered / 400 > 0.885
