"""Laws against independent oracles: SciPy, textbook formulas, and simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pytest
from scipy import integrate, stats

from loopwright.core.errors import ContextInvalid, Invalid, MaskEmpty, PolicyMismatch, RewardInvalid
from loopwright.policies import (
    Allocation,
    Batch,
    Policy,
    Problem,
    Served,
    ServedTogether,
    Sums,
    make,
    merge,
)
from loopwright.policies.gaussians import best_of
from loopwright.policies.linear import LinearLaw
from loopwright.policies.ucb import kl_upper

NO_FLOOR = 0.0


def learned(
    policy: Policy, problem: Problem, arms: Sequence[int], rewards: Sequence[float]
) -> Sums:
    batch = Batch.of(arms, rewards, propensities=[0.5] * len(arms))
    sums: Sums = policy.learn(problem, policy.empty(problem), batch)
    return sums


def served(
    name: str, problem: Problem, arms: Sequence[int], rewards: Sequence[float], **params: float
) -> Served:
    policy = make(name, params)
    allocation = Allocation.even(len(problem.arms), explore_floor=NO_FLOOR)
    return policy.prepare(problem, learned(policy, problem, arms, rewards), allocation)


def coins(wins: Sequence[int], losses: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return arms and 0/1 rewards with so many wins and losses per arm."""
    arms, rewards = [], []
    for arm, (won, lost) in enumerate(zip(wins, losses, strict=True)):
        arms += [arm] * (won + lost)
        rewards += [1.0] * won + [0.0] * lost
    return arms, rewards


class Frozen(Protocol):
    """A distribution of SciPy whose parameters are given."""

    def pdf(self, x: Any) -> Any: ...

    def cdf(self, x: Any) -> Any: ...

    def mean(self) -> Any: ...


def best_by_scipy(posteriors: Sequence[Frozen], low: float, high: float) -> list[float]:
    """Return P(largest) by adaptive quadrature over frozen distributions."""
    found = []
    for k, posterior in enumerate(posteriors):
        others = [p for j, p in enumerate(posteriors) if j != k]
        value, _ = integrate.quad(
            lambda x, f=posterior, o=others: f.pdf(x) * math.prod(p.cdf(x) for p in o),
            low,
            high,
            limit=500,
            points=[p.mean() for p in posteriors],
        )
        found.append(value)
    return found


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


@pytest.mark.parametrize("name", ["UCB1Tuned", "MOSS", "MOSSAnytime", "KLUCB"])
def test_optimists_choose_the_largest_index_of_their_papers(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        wins, losses = rng.integers(1, 60, 4).tolist(), rng.integers(1, 60, 4).tolist()
        expected = max(range(4), key=lambda k: index_by_hand(name, k, wins, losses))
        law = served(name, Problem(arms=tuple("abcd")), *coins(wins, losses)).law(None)
        assert law == [1.0 if k == expected else 0.0 for k in range(4)]


@pytest.mark.parametrize("name", ["UCB1Tuned", "MOSS", "MOSSAnytime", "KLUCB", "EpsilonGreedy"])
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


def test_epsilon_greedy_spreads_epsilon() -> None:
    law = served("epsilon-greedy", Problem(arms=("a", "b")), [0, 1], [1.0, 0.0], epsilon=0.2).law(
        None
    )
    assert law == pytest.approx([0.9, 0.1])


def test_the_law_of_independent_gaussians_matches_quadrature() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        k = int(rng.integers(2, 5))
        means, deviations = rng.normal(0, 0.4, k), np.exp(rng.normal(-1.5, 1, k))
        posteriors = [stats.norm(m, s) for m, s in zip(means, deviations, strict=True)]
        top = float((means + 9 * deviations).max())
        expected = best_by_scipy(posteriors, float((means - 9 * deviations).min()), top)
        assert best_of(means[None], deviations[None])[0].tolist() == pytest.approx(
            expected, abs=0.012
        )


def test_the_law_of_many_gaussians_looks_at_the_leading_ones() -> None:
    means = np.concatenate((np.full(100, -5.0), [0.0, 0.0]))
    p = best_of(means[None], np.full((1, 102), 0.3))[0]
    assert p[:100].sum() < 1e-4
    assert p[100:].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def linear_case(**problem: object) -> tuple[Problem, Batch]:
    rng = np.random.default_rng(11)
    n, features = 120, 5
    vectors = rng.normal(size=(n, features))
    rewards = (rng.random(n) < 0.5).astype(float)
    batch = Batch(rng.integers(0, 3, n), rewards, np.full(n, 0.5), vectors)
    return Problem(arms=("a", "b", "c"), dimension=features + 1, **problem), batch  # type: ignore[arg-type]


def solved(batch: Batch, *, ridge: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (A, θ) per arm by plain NumPy."""
    assert batch.vectors is not None
    x = np.hstack((batch.vectors, np.ones((len(batch), 1))))
    found = []
    for k in range(3):
        rows, rewards = x[batch.arms == k], batch.rewards[batch.arms == k]
        a = ridge * np.eye(x.shape[1]) + rows.T @ rows
        found.append((a, np.linalg.solve(a, rows.T @ rewards)))
    return found


def test_linucb_matches_a_plain_solve() -> None:
    problem, batch = linear_case()
    policy = make("LinUCB", {"alpha": 0.7})
    ready = policy.prepare(
        problem,
        policy.learn(problem, policy.empty(problem), batch),
        Allocation.even(3, explore_floor=0.0),
    )
    models = solved(batch, ridge=1.0)
    for x in np.random.default_rng(12).normal(size=(200, 5)):
        z = np.append(x, 1.0)
        scores = [z @ theta + 0.7 * math.sqrt(z @ np.linalg.solve(a, z)) for a, theta in models]
        draw = ready.select(x.astype("<f8").tobytes(), 0.5)
        assert (draw.arm, draw.propensity) == (int(np.argmax(scores)), 1.0)


def test_linthompson_matches_gaussians_around_a_plain_solve() -> None:
    problem, batch = linear_case()
    policy = make("LinThompson", {"nu": 0.8, "ridge": 1.0})
    ready = policy.prepare(
        problem,
        policy.learn(problem, policy.empty(problem), batch),
        Allocation.even(3, explore_floor=0.0),
    )
    models = solved(batch, ridge=1.0)
    for x in np.random.default_rng(13).normal(size=(5, 5)):
        z = np.append(x, 1.0)
        posteriors = [
            stats.norm(z @ theta, 0.8 * math.sqrt(z @ np.linalg.solve(a, z))) for a, theta in models
        ]
        law = ready.law(x.tolist())
        assert law == pytest.approx(best_by_scipy(posteriors, -6, 6), abs=0.012)


@pytest.mark.parametrize("name", ["LinThompson", "LinUCB", "EpsilonGreedy"])
@pytest.mark.parametrize("arms", [3, 30])
@pytest.mark.parametrize("most", [None, 0.6])
def test_many_contexts_draw_together_what_each_draws_alone(
    name: str, arms: int, most: float | None
) -> None:
    rng = np.random.default_rng(21)
    problem = Problem(arms=tuple(f"arm-{k}" for k in range(arms)), dimension=5)
    vectors = rng.normal(size=(200, 4))
    rewards = (rng.random(200) < 0.5).astype(float)
    batch = Batch(rng.integers(0, arms, 200), rewards, np.full(200, 0.5), vectors)
    policy = make(name, {})
    allocation = Allocation(
        enabled=(*(True for _ in range(arms - 1)), False),
        max_share=None if most is None else tuple(most for _ in range(arms)),
    )
    ready = policy.prepare(problem, policy.learn(problem, policy.empty(problem), batch), allocation)
    assert isinstance(ready, ServedTogether)
    packed = [vector.astype("<f8").tobytes() for vector in vectors[:70]]
    us = rng.random(70).tolist()
    for vector, u, draw in zip(packed, us, ready.select_many(packed, us), strict=True):
        alone = ready.select(vector, u)
        assert draw.arm == alone.arm
        assert draw.propensity == pytest.approx(alone.propensity, abs=1e-12)
    assert ready.select_many([], []) == []


def test_linthompson_learns_its_width_from_the_residuals() -> None:
    problem, batch = linear_case()
    policy = make("LinThompson", {"ridge": 1.0})
    ready = policy.prepare(
        problem, policy.learn(problem, policy.empty(problem), batch), Allocation.even(3)
    )
    assert isinstance(ready, LinearLaw)
    assert batch.vectors is not None
    x = np.hstack((batch.vectors, np.ones((len(batch), 1))))
    residual = 0.0
    for k, (_, theta) in enumerate(solved(batch, ridge=1.0)):
        rows, rewards = x[batch.arms == k], batch.rewards[batch.arms == k]
        residual += ((rewards - rows @ theta) ** 2).sum() + (theta**2).sum()
    expected = math.sqrt((0.5 + residual) / (2 + len(batch)))
    assert ready.model.noise == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["LinThompson", "LinUCB", "EpsilonGreedy"])
def test_linear_policies_do_not_depend_on_the_unit_of_an_undeclared_range(name: str) -> None:
    problem, batch = linear_case(low=-(2.0**20), high=2.0**20, reward_type="continuous")
    assert batch.vectors is not None
    moved = Batch(batch.arms, 500 + 32 * batch.rewards, batch.propensities, batch.vectors)
    policy = make(name, {})
    laws = []
    for seen in (batch, moved):
        ready = policy.prepare(
            problem, policy.learn(problem, policy.empty(problem), seen), Allocation.even(3)
        )
        laws.append([ready.law(x.tolist()) for x in batch.vectors[:20]])
    assert np.allclose(laws[0], laws[1], atol=1e-6)


def test_reusing_an_earlier_snapshot_gives_the_same_bits() -> None:
    problem, batch = linear_case()
    policy = make("LinThompson", {})
    allocation = Allocation.even(3)
    before = policy.learn(problem, policy.empty(problem), batch)
    one = Batch.of([1], [1.0], propensities=[0.5], vectors=[np.ones(5).tobytes()])
    after = policy.learn(problem, before, one)
    earlier = policy.prepare(problem, before, allocation)
    fresh = policy.prepare(problem, after, allocation)
    reused = policy.prepare(problem, after, allocation, previous=earlier)
    unchanged = policy.prepare(problem, before, allocation, previous=earlier)
    assert isinstance(earlier, LinearLaw)
    assert isinstance(fresh, LinearLaw)
    assert isinstance(reused, LinearLaw)
    assert isinstance(unchanged, LinearLaw)
    assert reused.model.inverse.tobytes() == fresh.model.inverse.tobytes()
    assert reused.model.theta.tobytes() == fresh.model.theta.tobytes()
    assert unchanged.model.inverse.tobytes() == earlier.model.inverse.tobytes()


def test_identical_large_features_do_not_break_the_inverse() -> None:
    problem = Problem(arms=("a", "b"), dimension=3)
    policy = make("LinUCB", {})
    vectors = np.full((256, 2), 2.0**20)
    batch = Batch(np.zeros(256, np.int64), np.ones(256), np.full(256, 0.5), vectors)
    sums = policy.learn(problem, policy.empty(problem), batch)
    for _ in range(12):
        sums = merge(sums, sums)
    ready = policy.prepare(problem, sums, Allocation.even(2))
    assert math.fsum(ready.law([1.0, -1.0])) == pytest.approx(1)


def test_a_packed_and_a_plain_vector_give_the_same_law() -> None:
    problem, batch = linear_case()
    policy = make("LinThompson", {})
    ready = policy.prepare(
        problem, policy.learn(problem, policy.empty(problem), batch), Allocation.even(3)
    )
    x = [0.1, 0.2, -0.3, 1.5, 0.0]
    assert ready.law(x) == ready.law(np.array(x).astype("<f8").tobytes())


def test_a_model_without_intercept_uses_the_vector_alone() -> None:
    rng = np.random.default_rng(8)
    problem = Problem(arms=("a", "b"), dimension=2, intercept=False)
    policy = make("LinUCB", {"alpha": 0.0})
    vectors = rng.normal(size=(50, 2))
    batch = Batch(rng.integers(0, 2, 50), np.ones(50), np.full(50, 0.5), vectors)
    ready = policy.prepare(
        problem, policy.learn(problem, policy.empty(problem), batch), Allocation.even(2)
    )
    assert isinstance(ready, LinearLaw)
    for k in range(2):
        rows = vectors[batch.arms == k]
        theta = np.linalg.solve(np.eye(2) + rows.T @ rows, rows.sum(axis=0))
        assert ready.model.theta[k].tolist() == pytest.approx(theta.tolist(), abs=1e-6)


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    problem, batch = linear_case()
    policy = make("LinUCB", {})
    ready = policy.prepare(
        problem, policy.learn(problem, policy.empty(problem), batch), Allocation.even(3)
    )
    for bad in (None, b"12345678", [1.0] * 6):
        with pytest.raises(ContextInvalid, match="components"):
            ready.select(bad, 0.5)
    with pytest.raises(ContextInvalid, match="shape"):
        policy.learn(problem, policy.empty(problem), Batch.of([0], [1.0], propensities=[1.0]))
    with pytest.raises(Invalid, match="differ in length"):
        Batch.of([0, 1], [1.0, 1.0], propensities=[1.0, 1.0], vectors=[b"1" * 8, b"1" * 16])


def test_rewards_outside_the_range_and_uneven_columns_are_refused() -> None:
    problem = Problem(arms=("a", "b"), low=0, high=5, reward_type="bounded")
    policy = make("BetaThompson", {})
    for bad in (-0.1, 5.1, math.nan):
        with pytest.raises(RewardInvalid, match=r"outside \[0, 5\]"):
            policy.learn(problem, policy.empty(problem), Batch.of([0], [bad], propensities=[1.0]))
    with pytest.raises(Invalid, match="differ in length"):
        policy.learn(problem, policy.empty(problem), Batch.of([0, 1], [1.0], propensities=[1.0]))


def test_a_state_of_another_policy_is_refused() -> None:
    problem = Problem(arms=("a", "b"))
    with pytest.raises(PolicyMismatch, match="replay the log"):
        make("EXP3", {}).prepare(
            problem, make("BetaThompson", {}).empty(problem), Allocation.even(2)
        )


def test_under_a_mask_an_optimist_takes_the_next_best() -> None:
    ready = served("KLUCB", Problem(arms=("a", "b", "c")), *coins((9, 5, 1), (1, 5, 9)))
    assert ready.law(None, mask=[1, 2]) == [0.0, 1.0, 0.0]
    assert ready.select(None, 0.99, mask=[2]).arm == 2
    with pytest.raises(MaskEmpty):
        ready.law(None, mask=[])


def test_summaries_are_in_the_units_of_the_reward() -> None:
    problem = Problem(arms=("a", "b"), low=100, high=300, reward_type="bounded")
    policy = make("GaussianThompson", {})
    sums = learned(policy, problem, [0, 0, 0, 0], [150.0, 250.0, 150.0, 250.0])
    first, second = policy.summaries(problem, sums, Allocation.even(2))
    assert first.n == 4
    assert first.mean == pytest.approx(200)
    assert first.low is not None
    assert first.high is not None
    assert 100 <= first.low < 200 < first.high <= 300
    assert (second.n, second.mean, second.low, second.high) == (0, None, None, None)


def test_the_interval_of_a_coin_is_wilsons() -> None:
    problem = Problem(arms=("a", "b"))
    policy = make("Uniform", {})
    summary = policy.summaries(
        problem, learned(policy, problem, *coins((3, 0), (17, 0))), Allocation.even(2)
    )[0]
    expected = stats.binomtest(3, 20).proportion_ci(0.95, method="wilson")
    assert (summary.low, summary.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


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
