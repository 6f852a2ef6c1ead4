"""Posteriors over the arms' means, and the probability of each arm to be best under them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .base import Floats, Problem
from .quadrature import best_by_density, nodes
from .tallies import Tallies


def best(problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> list[float]:
    """Return P(best) by position under the default posterior for the problem's rewards; 0 if not enabled."""
    if problem.is_ranged and problem.reward_type == "binary":
        return best_beta(tallies, enabled=enabled, prior=(1.0, 1.0))
    return best_normal(tallies, enabled=enabled, strength=1.0)


def best_beta(
    tallies: Tallies, *, enabled: Sequence[int], prior: tuple[float, float]
) -> list[float]:
    """Return P(best) under Beta(prior[0] + Σr, prior[1] + Σ(1 - r)) posteriors.

    Integrated over y = log-odds, where these densities are smooth and bell-shaped:
    log f(y) = a·y - (a + b)·log(1 + eʸ).
    """
    a = np.array([prior[0] + tallies.totals[k] for k in enabled])
    b = np.array([prior[1] + tallies.counts[k] - tallies.totals[k] for k in enabled])
    # Centre and spread of the log-odds by the delta method.
    grid = nodes(np.log(a / b), np.sqrt(1 / a + 1 / b), reach=(-9.0, 6.0))
    # log(1 + e^y), which overflows for large y when written so.
    softplus = np.logaddexp(0.0, grid)
    log_density = np.stack((a, -(a + b)), axis=1) @ np.stack((grid, softplus))
    return _placed(best_by_density(log_density, grid), enabled=enabled, count=len(tallies.counts))


def best_normal(tallies: Tallies, *, enabled: Sequence[int], strength: float) -> list[float]:
    """Return P(best) under normal-inverse-gamma posteriors: unknown mean *and* variance of each arm.

    The marginal posterior of a mean is Student's t with 2a degrees of freedom. The prior is worth `strength`
    observations and is centred on what all arms have in common, their pooled mean and variance, so the rule
    does not depend on the reward's unit.
    """
    # No reward, no pooled variance: nothing tells the arms apart yet.
    if tallies.events == 0:
        return _placed(
            np.full(len(enabled), 1 / len(enabled)), enabled=enabled, count=len(tallies.counts)
        )
    centre, variance = pooled(tallies)
    posteriors = [_posterior(tallies, k, centre, variance, strength=strength) for k in enabled]
    location, scale, degrees = (np.array(column) for column in zip(*posteriors, strict=True))
    # Far out, because Student's t with few degrees of freedom has heavy tails.
    grid = nodes(location, scale, reach=(-30.0, 30.0))
    z = (grid - location[:, None]) / scale[:, None]
    log_density = np.log1p(z * z / degrees[:, None])
    log_density *= -(degrees[:, None] + 1) / 2
    return _placed(best_by_density(log_density, grid), enabled=enabled, count=len(tallies.counts))


def pooled(tallies: Tallies) -> tuple[float, float]:
    """Return the mean over all events, and the variance around it (at least one grid step squared)."""
    n = tallies.events
    centre = math.fsum(tallies.totals) / n
    # Within the arms and between them: the law of total variance.
    spread = math.fsum(
        count * (variance + (mean - centre) ** 2)
        for count, variance, mean in zip(
            tallies.counts, tallies.variances, tallies.means, strict=True
        )
    )
    return centre, max(spread / n, 2.0**-48)


def _posterior(
    tallies: Tallies, arm: int, centre: float, variance: float, *, strength: float
) -> tuple[float, float, float]:
    """Return location, scale and degrees of freedom of the t posterior of an arm's mean."""
    n, mean = tallies.counts[arm], tallies.means[arm]
    # Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution", section 3, with the prior's kappa
    # and shape both `strength`.
    kappa = strength + n
    shape = strength + n / 2
    rate = (
        strength * variance
        + n * tallies.variances[arm] / 2
        + strength * n * (mean - centre) ** 2 / (2 * kappa)
    )
    location = (strength * centre + n * mean) / kappa
    return location, math.sqrt(rate / (shape * kappa)), 2 * shape


def _placed(p: Floats, *, enabled: Sequence[int], count: int) -> list[float]:
    law = [0.0] * count
    for k, share in zip(enabled, p.tolist(), strict=True):
        law[k] = share
    return law
