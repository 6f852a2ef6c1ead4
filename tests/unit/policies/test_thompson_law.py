from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from loopwright.policies import Problem
from loopwright.policies.exact import sums_of
from loopwright.policies.tallies import Tallies
from loopwright.policies.thompson_law import best, best_beta, best_normal, pooled


def tallied(*rewards: list[float]) -> Tallies:
    """Return the tallies of the given rewards, one list for each arm."""
    arms = np.repeat(np.arange(len(rewards)), [len(each) for each in rewards])
    values = np.concatenate([np.array(each) for each in rewards])
    columns = np.stack((np.ones(len(values)), values), axis=1)
    return Tallies(sums_of(arms, columns, count=len(rewards)), one=0)


def test_the_beta_law_is_the_integral_of_density_times_distribution() -> None:
    found = best_beta(tallied([1.0] * 3 + [0.0], [1.0, 0.0, 0.0]), enabled=[0, 1], prior=(1.0, 1.0))
    first, second = stats.beta(4, 2), stats.beta(2, 3)
    expected, _ = integrate.quad(lambda x: first.pdf(x) * second.cdf(x), 0, 1)
    # The trapezoidal rule on 512 nodes is off by about 1e-5 here; `test_thompson` grants 2e-3 to harder cases.
    assert found == pytest.approx([expected, 1 - expected], abs=1e-4)


def test_without_rewards_every_enabled_arm_is_as_likely_and_a_disabled_one_is_never_best() -> None:
    assert best_normal(tallied([], [], []), enabled=[0, 2], strength=1.0) == [0.5, 0.0, 0.5]


def test_a_law_sums_to_one_and_leaves_a_disabled_arm_at_zero() -> None:
    tallies = tallied([0.1, 0.4], [0.9, 1.0], [0.3, 0.5])
    for law in (
        best_beta(tallies, enabled=[0, 2], prior=(1.0, 1.0)),
        best_normal(tallies, enabled=[0, 2], strength=1.0),
    ):
        assert sum(law) == pytest.approx(1.0)
        assert law[1] == 0.0


def test_the_pooled_moments_are_those_of_all_rewards_together() -> None:
    first, second = [0.1, 0.4, 0.7], [0.9, 1.0]
    assert pooled(tallied(first, second)) == pytest.approx(
        (np.mean(first + second), np.var(first + second)), abs=1e-6
    )


def test_equal_rewards_leave_a_pooled_variance_above_zero() -> None:
    assert pooled(tallied([0.5] * 4)) == (0.5, 2.0**-48)


def test_only_binary_rewards_get_the_beta_posterior() -> None:
    tallies = tallied([1.0, 1.0, 0.0], [0.0, 1.0])
    binary = best(Problem(arms=("a", "b")), tallies, enabled=[0, 1])
    bounded = best(Problem(arms=("a", "b"), reward_type="bounded"), tallies, enabled=[0, 1])
    assert binary == best_beta(tallies, enabled=[0, 1], prior=(1.0, 1.0))
    assert bounded == best_normal(tallies, enabled=[0, 1], strength=1.0)
