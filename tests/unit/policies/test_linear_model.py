from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from tests.unit.policies.oracles import linear_case, solved

from loopwright.policies import Allocation, Batch, Problem, Sums, make, merge
from loopwright.policies.linear import LinearLaw
from loopwright.policies.linear_model import Model


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


def test_only_the_arms_with_new_events_are_inverted_anew() -> None:
    problem, batch = linear_case()
    policy = make("LinUCB", {})
    before: Sums = policy.learn(problem, policy.empty(problem), batch)
    one = Batch.of([2], [1.0], propensities=[0.5], vectors=[np.ones(5).tobytes()])
    after: Sums = policy.learn(problem, before, one)
    earlier = Model(problem, before, ridge=1.0)
    later = Model(problem, after, ridge=1.0, previous=earlier)
    same = (later.inverse == earlier.inverse).all(axis=(1, 2)).tolist()
    assert same == [True, True, False]
    # Another ridge changes every inverse, so nothing may be taken over.
    wide = Model(problem, before, ridge=8.0, previous=earlier)
    assert wide.inverse.tobytes() == Model(problem, before, ridge=8.0).inverse.tobytes()


def test_an_arm_that_was_added_since_starts_at_the_prior() -> None:
    problem, batch = linear_case()
    policy = make("LinUCB", {})
    before: Sums = policy.learn(problem, policy.empty(problem), batch)
    wider = msgspec.structs.replace(problem, arms=(*problem.arms, "d"))
    grown: Sums = policy.grow(wider, before)
    model = Model(wider, grown, ridge=4.0, previous=Model(problem, before, ridge=4.0))
    assert model.inverse[3].tolist() == (np.eye(6) / 4).tolist()
    assert model.theta[3].tolist() == [0.0] * 6


def test_before_any_event_the_noise_is_that_of_a_fair_coin() -> None:
    problem = Problem(arms=("a", "b"), dimension=3)
    state: Sums = make("LinThompson", {}).empty(problem)
    assert Model(problem, state, ridge=1.0).noise == 0.5
