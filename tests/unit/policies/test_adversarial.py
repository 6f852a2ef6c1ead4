from __future__ import annotations

import math

import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.policies import Allocation, Batch, Problem, make
from loopwright.policies.adversarial import softmax

PROBLEM = Problem(arms=("a", "b"))
ALLOCATION = Allocation.even(2, explore_floor=0.0)


def law(
    name: str, arms: list[int], rewards: list[float], odds: list[float], **params: float
) -> list[float]:
    policy = make(name, params)
    batch = Batch.of(arms, rewards, propensities=odds)
    state = policy.learn(PROBLEM, policy.empty(PROBLEM), batch)
    return policy.prepare(PROBLEM, state, ALLOCATION).law(None)


def test_softmax_takes_only_enabled_arms_and_survives_large_logits() -> None:
    assert softmax([5000.0, 9999.0, 5000.0], [0, 2]) == [0.5, 0.0, 0.5]
    assert softmax([-1e6, 0.0], [0, 1]) == [0.0, 1.0]


def test_exp3_is_the_formula_of_the_paper() -> None:
    gamma, gain = 0.3, 1.0 / 0.25
    share = math.exp(gamma * gain / 2) / (math.exp(gamma * gain / 2) + 1)
    wanted = (1 - gamma) * share + gamma / 2
    assert law("EXP3", [0], [1.0], [0.25], gamma=gamma)[0] == pytest.approx(wanted)


def test_fpl_is_a_softmax_of_losses_over_the_logged_odds() -> None:
    eta, loss = 0.5, (1 - 0.2) / 0.5
    wanted = math.exp(-eta * loss) / (math.exp(-eta * loss) + 1)
    assert law("FPL", [0], [0.2], [0.5], eta=eta)[0] == pytest.approx(wanted)


def test_a_rarer_draw_of_the_same_reward_counts_more() -> None:
    rare = law("EXP3", [0], [1.0], [0.05], gamma=0.3)[0]
    assert rare > law("EXP3", [0], [1.0], [0.5], gamma=0.3)[0] > 0.5


@pytest.mark.parametrize("name", ["EXP3", "FPL"])
def test_before_any_event_every_arm_is_equally_likely(name: str) -> None:
    assert law(name, [], [], []) == pytest.approx([0.5, 0.5])


def test_exp3_matches_the_formula_by_hand() -> None:
    problem = Problem(arms=("a", "b", "c"), low=0, high=4, reward_type="bounded")
    policy = make("EXP3", {"gamma": 0.2})
    batch = Batch.of([0, 1, 1], [4.0, 1.0, 2.0], propensities=[0.5, 0.25, 0.1])
    law = policy.prepare(
        problem,
        policy.learn(problem, policy.empty(problem), batch),
        Allocation.even(3, explore_floor=0.0),
    ).law(None)
    gains = np.array([1 / 0.5, 0.25 / 0.25 + 0.5 / 0.1, 0.0])
    weights = np.exp(0.2 * gains / 3)
    expected = 0.8 * weights / weights.sum() + 0.2 / 3
    assert law == pytest.approx(expected.tolist(), abs=1e-7)


def test_exp3_stays_finite_when_gains_are_huge() -> None:
    problem = Problem(arms=("a", "b"), reward_type="bounded")
    policy = make("EXP3", {"gamma": 1e-3})
    batch = Batch.of([0] * 256, [1.0] * 256, propensities=[2.0**-20] * 256)
    law = policy.prepare(
        problem,
        policy.learn(problem, policy.empty(problem), batch),
        Allocation.even(2, explore_floor=0.0),
    ).law(None)
    assert law == pytest.approx([1 - 5e-4, 5e-4], abs=1e-9)


def test_fpl_with_gumbel_noise_is_what_perturbing_gives() -> None:
    problem = Problem(arms=("a", "b", "c"), reward_type="bounded")
    policy = make("FPL", {"eta": 0.5})
    batch = Batch.of([0, 1, 2], [0.0, 0.5, 1.0], propensities=[0.5, 0.25, 0.5])
    law = policy.prepare(
        problem,
        policy.learn(problem, policy.empty(problem), batch),
        Allocation.even(3, explore_floor=0.0),
    ).law(None)
    losses = np.array([2.0, 2.0, 0.0])
    noise = np.random.default_rng(4).gumbel(size=(100_000, 3))
    leaders = np.bincount((0.5 * losses - noise).argmin(axis=1), minlength=3) / 100_000
    # Six standard errors of a share near a half.
    assert law == pytest.approx(leaders.tolist(), abs=6 * 0.5 / math.sqrt(100_000))


def test_a_propensity_that_cannot_be_divided_by_is_refused() -> None:
    problem = Problem(arms=("a", "b"), reward_type="bounded")
    for bad in (0.0, 1.5, math.nan):
        with pytest.raises(Invalid, match="propensity"):
            make("EXP3", {}).learn(
                problem, make("EXP3", {}).empty(problem), Batch.of([0], [1.0], propensities=[bad])
            )
