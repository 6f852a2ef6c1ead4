from __future__ import annotations

import math

import pytest

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
