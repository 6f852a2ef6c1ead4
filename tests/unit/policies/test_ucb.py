from __future__ import annotations

import math

import pytest
from scipy import optimize

from loopwright.policies import Allocation, Batch, Problem, make
from loopwright.policies.ucb import kl_upper

NAMES = ["UCB1Tuned", "KLUCB", "MOSS", "MOSSAnytime"]


def best(name: str, counts: list[int], means: list[float]) -> int:
    """Return the arm that is chosen after so many rewards of such means."""
    problem = Problem(arms=tuple("abc"[: len(counts)]), reward_type="bounded")
    policy = make(name, {})
    arms = [arm for arm, count in enumerate(counts) for _ in range(count)]
    batch = Batch.of(arms, [means[arm] for arm in arms], propensities=[0.5] * len(arms))
    state = policy.learn(problem, policy.empty(problem), batch)
    allocation = Allocation.even(len(counts), explore_floor=0.0)
    law = policy.prepare(problem, state, allocation).law(None)
    return law.index(max(law))


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_that_was_never_tried_comes_first(name: str) -> None:
    assert best(name, [50, 0, 50], [0.9, 0.0, 0.9]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_of_equal_means_the_one_known_less_is_tried(name: str) -> None:
    assert best(name, [500, 5], [0.5, 0.5]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_clear_winner_is_kept(name: str) -> None:
    assert best(name, [300, 300], [0.1, 0.8]) == 1


def divergence(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.mark.parametrize("budget", [1e-9, 1e-4, 0.02, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("mean", [1e-6, 0.02, 0.5, 0.97, 1 - 1e-6])
def test_the_bound_is_where_the_divergence_uses_up_the_budget(mean: float, budget: float) -> None:
    found = kl_upper(mean, budget)
    last = 1 - 2**-53
    if divergence(mean, last) <= budget:
        assert found == pytest.approx(1.0)
        return
    exact = optimize.brentq(lambda q: divergence(mean, q) - budget, mean, last, xtol=1e-15)
    assert found == pytest.approx(exact, rel=1e-6)


def test_the_bound_at_the_edges() -> None:
    assert kl_upper(1.0, 0.1) == 1.0
    assert kl_upper(0.4, 0.0) == 0.4
    assert kl_upper(0.0, math.log(2)) == pytest.approx(0.5)
