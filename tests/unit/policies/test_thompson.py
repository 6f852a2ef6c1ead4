from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.unit.policies.oracles import best_by_scipy, coins, learned, served

from loopwright.policies import Allocation, Problem, make


@pytest.mark.parametrize(
    ("wins", "losses"),
    [
        ((0, 0), (0, 0)),
        ((3, 1), (1, 3)),
        ((10, 12, 2), (30, 28, 9)),
        ((0, 0, 5), (40, 10, 50)),
        ((300, 0), (700, 1)),
        ((500, 520, 490, 3), (500, 480, 510, 2)),
    ],
)
def test_beta_thompson_matches_adaptive_quadrature(wins, losses) -> None:
    problem = Problem(arms=tuple("abcd"[: len(wins)]))
    law = served("BetaThompson", problem, *coins(wins, losses)).law(None)
    posteriors = [stats.beta(1 + w, 1 + n) for w, n in zip(wins, losses, strict=True)]
    assert law == pytest.approx(best_by_scipy(posteriors, 0, 1), abs=2e-3)


def test_beta_thompson_takes_a_fractional_reward_as_part_of_a_success() -> None:
    problem = Problem(arms=("a", "b"), low=-1, high=1, reward_type="bounded")
    law = served("BetaThompson", problem, [0, 0, 1], [0.2, 0.6, -0.5]).law(None)
    posteriors = [stats.beta(1 + 1.4, 1 + 0.6), stats.beta(1 + 0.25, 1 + 0.75)]
    assert law == pytest.approx(best_by_scipy(posteriors, 0, 1), abs=2e-3)


def test_gaussian_thompson_matches_student_posteriors() -> None:
    problem = Problem(arms=("a", "b", "c"), low=-(2.0**20), high=2.0**20, reward_type="continuous")
    rng = np.random.default_rng(3)
    arms = [0] * 12 + [1] * 5 + [2] * 30
    rewards = np.concatenate((rng.normal(100, 3, 12), rng.normal(101, 9, 5), rng.normal(99, 1, 30)))
    law = served("GaussianThompson", problem, arms, rewards.tolist()).law(None)
    centre, variance = rewards.mean(), rewards.var()
    posteriors = []
    for k in range(3):
        r = rewards[np.array(arms) == k]
        n, kappa, shape = len(r), 1 + len(r), 1 + len(r) / 2
        rate = variance + ((r - r.mean()) ** 2).sum() / 2 + n * (r.mean() - centre) ** 2 / 2 / kappa
        location = (centre + r.sum()) / kappa
        posteriors.append(stats.t(2 * shape, loc=location, scale=math.sqrt(rate / (shape * kappa))))
    assert law == pytest.approx(best_by_scipy(posteriors, 60, 140), abs=2e-3)


def test_gaussian_thompson_does_not_depend_on_the_unit_or_the_origin() -> None:
    problem = Problem(arms=("a", "b"), low=-(2.0**20), high=2.0**20, reward_type="continuous")
    arms, rewards = [0, 0, 0, 1, 1], [1.0, 2.0, 4.0, 2.0, 3.0]
    plain = served("GaussianThompson", problem, arms, rewards).law(None)
    moved = served("GaussianThompson", problem, arms, [1000 + 16 * r for r in rewards]).law(None)
    assert moved == pytest.approx(plain, rel=1e-9)


def test_importance_weights_from_logged_propensities_are_honest() -> None:
    """The value of always taking one arm is estimated from a Thompson log without bias.

    Ten arms; arm 8 earns 0.300 and is drawn about a fifth of the time. Logging 1/K or 1 instead gives 0.6
    and 0.06.
    """
    means = [0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.26, 0.3, 0.31]
    wins = [round(60 * m) for m in means]
    problem = Problem(arms=tuple("abcdefghij"))
    policy = make("BetaThompson", {})
    sums = learned(policy, problem, *coins(wins, [60 - w for w in wins]))
    ready = policy.prepare(problem, sums, Allocation.even(10))
    rng = np.random.default_rng(21)
    n = 100_000
    draws = [ready.select(None, u) for u in rng.random(n).tolist()]
    rewards = rng.random(n) < np.array(means)[[d.arm for d in draws]]
    estimate = sum(
        r / d.propensity for d, r in zip(draws, rewards.tolist(), strict=True) if d.arm == 8
    )
    p = ready.law(None)[8]
    error = math.sqrt((0.3 / p - 0.09) / n)
    assert abs(estimate / n - 0.3) < 5 * error
    assert error < 0.006
