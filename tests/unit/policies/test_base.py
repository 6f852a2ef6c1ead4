from __future__ import annotations

import math

import numpy as np
import pytest

from loopwright.core.errors import Invalid, RewardInvalid
from loopwright.core.experiment import Arm, ContextSpec, Experiment, PolicyChoice
from loopwright.core.reward import BOUND, RewardSpec
from loopwright.policies import Allocation, Batch, Problem, make
from loopwright.policies.base import grow, params_of
from loopwright.policies.exact import empty


def experiment(context: ContextSpec | None = None, reward: RewardSpec | None = None) -> Experiment:
    arms = (Arm(id="a", min_share=0.1), Arm(id="b", state="disabled"), Arm(id="c", max_share=0.5))
    return Experiment(
        id="greeting",
        tenant_id="acme",
        arms=arms,
        policy=PolicyChoice("auto", {}),
        reward=reward or RewardSpec(),
        context=context,
    )


@pytest.mark.parametrize(
    ("context", "dimension", "features"),
    [
        (None, 1, 0),
        (ContextSpec(4, intercept=True), 5, 4),
        (ContextSpec(4, intercept=False), 4, 4),
    ],
)
def test_the_constant_is_a_column_that_no_vector_brings(
    context: ContextSpec | None, dimension: int, features: int
) -> None:
    problem = Problem.of(experiment(context))
    assert (problem.dimension, problem.features) == (dimension, features)


def test_a_declared_range_is_learned_as_zero_to_one_and_an_undeclared_one_as_it_is() -> None:
    ranged = Problem.of(experiment(reward=RewardSpec(type="bounded", low=-1.0, high=3.0)))
    assert (ranged.is_ranged, ranged.origin, ranged.width) == (True, -1.0, 4.0)
    free = Problem.of(experiment(reward=RewardSpec(type="continuous")))
    assert (free.low, free.high) == (-BOUND, BOUND)
    assert (free.is_ranged, free.origin, free.width) == (False, 0.0, 1.0)


def test_an_allocation_has_an_entry_for_every_arm_the_disabled_included() -> None:
    made = Allocation.of(experiment())
    assert made.enabled == (True, False, True)
    assert (made.min_share, made.max_share) == ((0.1, 0.0, 0.0), (1.0, 1.0, 0.5))


def test_packed_vectors_become_one_array_of_rows() -> None:
    rows = [[1.0, -2.0], [0.5, 2.0**-60], [0.0, 3.0]]
    packed = [np.array(row, dtype="<f8").tobytes() for row in rows]
    batch = Batch.of([0, 1, 0], [1.0, 0.0, 1.0], propensities=[0.5] * 3, vectors=packed)
    assert batch.vectors is not None
    assert (batch.vectors.tolist(), len(batch)) == (rows, 3)
    assert len(Batch.of([], [], propensities=[], vectors=[])) == 0


def test_sums_grow_by_empty_arms_and_never_shrink() -> None:
    grown = grow(empty(2, 2), Problem(arms=("a", "b", "c")))
    assert (grown.arms, grown.events) == (3, 0)
    with pytest.raises(Invalid):
        grow(empty(2, 2), Problem(arms=("a",)))


def test_the_parameters_of_a_policy_build_it_anew() -> None:
    policy = make("EpsilonGreedy", {"epsilon": 0.25})
    assert params_of(policy) == {"epsilon": 0.25, "ridge": 1.0}
    assert make("EpsilonGreedy", params_of(policy)) == policy


def test_rewards_outside_the_range_and_uneven_columns_are_refused() -> None:
    problem = Problem(arms=("a", "b"), low=0, high=5, reward_type="bounded")
    policy = make("BetaThompson", {})
    for bad in (-0.1, 5.1, math.nan):
        with pytest.raises(RewardInvalid, match=r"outside \[0, 5\]"):
            policy.learn(problem, policy.empty(problem), Batch.of([0], [bad], propensities=[1.0]))
    with pytest.raises(Invalid, match="differ in length"):
        policy.learn(problem, policy.empty(problem), Batch.of([0, 1], [1.0], propensities=[1.0]))
