from __future__ import annotations

import numpy as np
import pytest

from loopwright.policies import Problem
from loopwright.policies.exact import Sums, sums_of
from loopwright.policies.tallies import Tallies
from loopwright.stats.intervals import wilson


def tallied(rewards: list[float], weights: list[float] | None = None, *, arms: int = 1) -> Tallies:
    """Tallies of rewards that all went to the first arm."""
    columns = [np.ones(len(rewards)), np.array(rewards)]
    if weights is not None:
        columns.append(np.array(weights))
    sums: Sums = sums_of(
        np.zeros(len(rewards), dtype=np.int64), np.stack(columns, axis=1), count=arms
    )
    return Tallies(sums, one=0)


def test_counts_means_and_variances_are_those_of_the_rewards() -> None:
    rewards = np.random.default_rng(1).random(400).tolist()
    found = tallied(rewards, arms=2)
    assert (found.counts, found.events) == ([400, 0], 400)
    assert found.means == pytest.approx([np.mean(rewards), 0.0])
    assert found.variances == pytest.approx([np.var(rewards), 0.0], abs=1e-6)


def test_a_small_spread_around_a_large_mean_is_not_cancelled_away() -> None:
    rewards = [1_000_000.0 + step / 8 for step in range(64)]
    assert tallied(rewards).variances == pytest.approx([np.var(rewards)], rel=1e-9)


def test_only_a_state_with_weights_has_a_weighted_sum() -> None:
    assert tallied([1.0, 0.0]).weighted == []
    assert tallied([1.0, 0.0], [4.0, 0.5]).weighted == [4.5]


def test_an_arm_without_data_has_no_mean_and_no_interval() -> None:
    problem = Problem(arms=("a", "b"))
    found = tallied([1.0], arms=2).summary(problem, 1, share=0.5, p_best=0.4)
    assert (found.arm, found.n, found.mean, found.low, found.high) == ("b", 0, None, None, None)


def test_the_interval_of_a_rate_is_wilsons_and_stays_in_range() -> None:
    found = tallied([1.0] * 9 + [0.0]).summary(Problem(arms=("a",)), 0, share=1.0, p_best=1.0)
    assert (found.low, found.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    sure = tallied([1.0] * 5).summary(Problem(arms=("a",)), 0, share=1.0, p_best=1.0)
    assert sure.high == 1.0
    assert sure.low is not None
    assert 0.5 < sure.low < 1.0


def test_an_interval_is_told_in_the_rewards_own_units() -> None:
    problem = Problem(arms=("a",), low=100.0, high=300.0, reward_type="bounded")
    found = tallied([0.25, 0.75] * 20).summary(problem, 0, share=1.0, p_best=1.0)
    assert found.mean == pytest.approx(200.0)
    assert found.low is not None
    assert found.high is not None
    assert 100.0 < found.low < 200.0 < found.high < 300.0


# A policy may not import the statistics of reports, so the formula stands in both; this holds them equal.
@pytest.mark.parametrize(("wins", "n"), [(0, 3), (1, 1), (3, 10), (9, 10), (1000, 1000)])
def test_the_interval_of_a_rate_is_the_one_that_reports_show(wins: int, n: int) -> None:
    rewards = [1.0] * wins + [0.0] * (n - wins)
    found = tallied(rewards).summary(Problem(arms=("a",)), 0, share=1.0, p_best=1.0)
    expected = wilson(wins, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
