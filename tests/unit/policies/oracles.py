"""What tests of laws share: learning from plain lists, and the same laws by SciPy and plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy import integrate

from loopwright.policies import Allocation, Batch, Policy, Problem, Served, Sums, make

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
