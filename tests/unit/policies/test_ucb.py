from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize
from tests.unit.policies.oracles import coins, served

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


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.01, 0.3, 0.5, 0.97, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("budget", [0.0, 1e-12, 1e-3, 0.1, 2.0, 40.0])
def test_the_kl_index_is_the_root(mean: float, budget: float) -> None:
    def divergence(q: float) -> float:
        first = mean * math.log(mean / q) if mean > 0 else 0.0
        return first + ((1 - mean) * math.log((1 - mean) / (1 - q)) if mean < 1 else 0.0)

    q = kl_upper(mean, budget)
    assert mean <= q <= 1
    low, high = mean, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle >= 1 or (middle > 0 and divergence(middle) > budget):
            high = middle
        else:
            low = middle
    assert q == pytest.approx(low, abs=1e-7)


def index_by_hand(name: str, k: int, wins: Sequence[int], losses: Sequence[int]) -> float:
    t, count = sum(wins) + sum(losses), len(wins)
    n = wins[k] + losses[k]
    mean = wins[k] / n
    match name:
        case "UCB1Tuned":
            bound = mean * (1 - mean) + math.sqrt(2 * math.log(t) / n)
            return mean + math.sqrt(math.log(t) / n * min(0.25, bound))
        case "MOSS":
            return mean + math.sqrt(max(0.0, math.log(100_000 / (count * n))) / n)
        case "MOSSAnytime":
            return mean + math.sqrt(2.35 / 2 * max(0.0, math.log(t / (count * n))) / n)
        case _:
            return kl_upper(mean, math.log(t) / n)


@pytest.mark.parametrize("name", NAMES)
def test_optimists_choose_the_largest_index_of_their_papers(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        wins, losses = rng.integers(1, 60, 4).tolist(), rng.integers(1, 60, 4).tolist()
        expected = max(range(4), key=lambda k: index_by_hand(name, k, wins, losses))
        law = served(name, Problem(arms=tuple("abcd")), *coins(wins, losses)).law(None)
        assert law == [1.0 if k == expected else 0.0 for k in range(4)]


@pytest.mark.parametrize("name", NAMES)
def test_arms_never_tried_come_first_and_share_evenly(name: str) -> None:
    law = served(name, Problem(arms=tuple("abcd")), [0, 2], [1.0, 0.0]).law(None)
    assert law[1] == law[3] == max(law)


@pytest.mark.parametrize("name", ["UCB1Tuned", "MOSS", "MOSSAnytime"])
def test_optimists_scale_their_bonus_with_continuous_rewards(name: str) -> None:
    problem = Problem(arms=("a", "b"), low=-(2.0**20), high=2.0**20, reward_type="continuous")
    rng = np.random.default_rng(2)
    arms, rewards = [0] * 50 + [1] * 3, rng.normal(10, 1, 53)
    rewards[50:] = (9.6, 9.7, 9.8)
    few = served(name, problem, arms, rewards.tolist()).law(None)
    large = served(name, problem, arms, (64 * rewards).tolist()).law(None)
    assert few == large == [0.0, 1.0]
