from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.unit.policies.oracles import best_by_scipy, linear_case, solved

from loopwright.core.errors import ContextInvalid, Invalid
from loopwright.policies import Allocation, Batch, Problem, ServedTogether, make


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


def test_a_packed_and_a_plain_vector_give_the_same_law() -> None:
    problem, batch = linear_case()
    policy = make("LinThompson", {})
    ready = policy.prepare(
        problem, policy.learn(problem, policy.empty(problem), batch), Allocation.even(3)
    )
    x = [0.1, 0.2, -0.3, 1.5, 0.0]
    assert ready.law(x) == ready.law(np.array(x).astype("<f8").tobytes())


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
