from __future__ import annotations

import math

import numpy as np
import pytest

from loopwright.core.errors import ContextInvalid, Invalid, PolicyMismatch, RewardInvalid
from loopwright.policies import Batch, Problem
from loopwright.policies.base import LEAST_PROPENSITY
from loopwright.policies.columns import check_shape, free, linear, propensities, weighted
from loopwright.policies.exact import empty

FREE = Problem(arms=("a", "b"))
RANGED = Problem(arms=("a", "b"), low=-1.0, high=3.0, reward_type="bounded")


def batch(
    rewards: list[float], *, odds: float = 0.5, vectors: list[list[float]] | None = None
) -> Batch:
    n = len(rewards)
    packed = None if vectors is None else [np.array(v, dtype="<f8").tobytes() for v in vectors]
    return Batch.of([0] * n, rewards, propensities=[odds] * n, vectors=packed)


def test_a_declared_range_is_learned_as_zero_to_one() -> None:
    assert free(RANGED, batch([-1.0, 1.0, 3.0])).tolist() == [[1, 0], [1, 0.5], [1, 1]]
    assert free(FREE, batch([0.0, 1.0])).tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 1.001, -0.001])
def test_one_reward_outside_the_range_refuses_the_batch(reward: float) -> None:
    with pytest.raises(RewardInvalid, match=r"outside \[0\.0, 1\.0\]"):
        free(FREE, batch([0.5, reward]))


def test_features_come_before_the_constant_and_the_reward() -> None:
    problem = Problem(arms=("a",), dimension=3)
    found = linear(problem, batch([1.0], vectors=[[7.0, 8.0]]))
    assert found.tolist() == [[7.0, 8.0, 1.0, 1.0]]


@pytest.mark.parametrize("vectors", [None, [[1.0]], [[1.0, 2.0, 3.0]]])
def test_vectors_of_another_width_are_refused(vectors: list[list[float]] | None) -> None:
    with pytest.raises(ContextInvalid, match=r"learns from \[1, 2\]"):
        linear(Problem(arms=("a",), dimension=3), batch([1.0], vectors=vectors))


def test_rewards_and_losses_are_weighed_by_the_logged_odds() -> None:
    assert weighted(FREE, batch([0.25], odds=0.125), loss=False).tolist() == [[1, 0.25, 2.0]]
    assert weighted(FREE, batch([0.25], odds=0.125), loss=True).tolist() == [[1, 0.25, 6.0]]


@pytest.mark.parametrize("odds", [0.0, LEAST_PROPENSITY / 2, 1.0001, math.nan, -0.5])
def test_odds_that_no_arm_was_drawn_at_are_refused(odds: float) -> None:
    with pytest.raises(Invalid, match="propensity"):
        propensities(batch([1.0], odds=odds))


def test_the_smallest_and_the_largest_odds_are_good_and_so_is_no_event() -> None:
    assert propensities(batch([1.0], odds=LEAST_PROPENSITY)).tolist() == [LEAST_PROPENSITY]
    assert propensities(batch([1.0], odds=1.0)).tolist() == [1.0]
    assert propensities(batch([])).tolist() == []
    assert free(FREE, batch([])).shape == (0, 2)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(Invalid, match="differ in length"):
        free(FREE, Batch.of([0, 1], [1.0], propensities=[0.5]))


def test_a_state_of_another_policy_or_fewer_arms_is_refused() -> None:
    check_shape(FREE, empty(2, 2), columns=2)
    for sums in (empty(1, 2), empty(2, 3)):
        with pytest.raises(PolicyMismatch) as refused:
            check_shape(FREE, sums, columns=2)
        assert refused.value.detail == {"found": [sums.arms, sums.columns], "expected": [2, 2]}
