from __future__ import annotations

import math

import numpy as np
import pytest
from tests.unit.policies.oracles import linear_case, served, solved

from loopwright.core.errors import Invalid
from loopwright.policies import Allocation, Problem, make


def test_epsilon_greedy_spreads_epsilon() -> None:
    law = served("epsilon-greedy", Problem(arms=("a", "b")), [0, 1], [1.0, 0.0], epsilon=0.2).law(
        None
    )
    assert law == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_arms_never_tried_share_evenly_before_any_mean_counts(epsilon: float) -> None:
    law = served("EpsilonGreedy", Problem(arms=tuple("abcd")), [0, 2], [1.0, 0.0], epsilon=epsilon)
    rest = epsilon / 4
    assert law.law(None) == pytest.approx([rest, 0.5 - rest, rest, 0.5 - rest])


def test_equal_means_share_what_epsilon_leaves() -> None:
    law = served("EpsilonGreedy", Problem(arms=tuple("abc")), [0, 1, 2], [1.0, 1.0, 0.0]).law(None)
    assert law == pytest.approx([0.45 + 0.1 / 3, 0.45 + 0.1 / 3, 0.1 / 3])


def test_an_epsilon_of_one_is_the_uniform_policy() -> None:
    problem = Problem(arms=("a", "b"))
    greedy = served("EpsilonGreedy", problem, [0, 1], [1.0, 0.0], epsilon=1.0).law(None)
    assert greedy == served("Uniform", problem, [0, 1], [1.0, 0.0]).law(None) == [0.5, 0.5]


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, math.nan])
def test_an_epsilon_that_is_no_share_is_refused(epsilon: float) -> None:
    with pytest.raises(Invalid, match="epsilon"):
        make("EpsilonGreedy", {"epsilon": epsilon})


def test_with_a_context_the_best_is_the_largest_linear_estimate() -> None:
    problem, batch = linear_case()
    policy = make("EpsilonGreedy", {"epsilon": 0.3, "ridge": 2.0})
    state = policy.learn(problem, policy.empty(problem), batch)
    ready = policy.prepare(problem, state, Allocation.even(3, explore_floor=0.0))
    models = solved(batch, ridge=2.0)
    for x in np.random.default_rng(14).normal(size=(50, 5)):
        means = [np.append(x, 1.0) @ theta for _, theta in models]
        expected = [0.8 if k == int(np.argmax(means)) else 0.1 for k in range(3)]
        assert ready.law(x.tolist()) == pytest.approx(expected)
    assert [arm.n for arm in policy.summaries(problem, state, Allocation.even(3))] == np.bincount(
        batch.arms
    ).tolist()


def test_a_disabled_arm_gets_no_part_of_an_even_draw() -> None:
    policy, problem = make("Uniform", {}), Problem(arms=tuple("abc"))
    allocation = Allocation(enabled=(True, False, True))
    law = policy.prepare(problem, policy.empty(problem), allocation).law(None)
    assert law == [0.5, 0.0, 0.5]
