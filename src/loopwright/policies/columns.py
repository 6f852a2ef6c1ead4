"""From a batch of events to the columns whose products are summed. The last gate before learning."""

from __future__ import annotations

import numpy as np

from loopwright.core.errors import ContextInvalid, Invalid, PolicyMismatch, RewardInvalid

from .base import LEAST_PROPENSITY, Batch, Floats, Problem
from .exact import Sums


def free(problem: Problem, batch: Batch) -> Floats:
    """Return columns [1, r] as f64[n, 2]; contexts are ignored."""
    columns = np.ones((len(batch), 2))
    columns[:, 1] = _rewards(problem, batch)
    return columns


def linear(problem: Problem, batch: Batch) -> Floats:
    """Return columns [features…, 1, r] as f64[n, features + 2]."""
    rewards = _rewards(problem, batch)
    n, width = len(batch), problem.features
    if batch.vectors is None or batch.vectors.shape != (n, width):
        found = None if batch.vectors is None else list(batch.vectors.shape)
        raise ContextInvalid(
            f"the batch's vectors have shape {found}; this experiment learns from {[n, width]}",
            found=found,
            expected=[n, width],
        )
    columns = np.empty((n, width + 2))
    columns[:, :width] = batch.vectors
    # The column of ones is summed even without an intercept: its products are the counts and sums that
    # summaries read.
    columns[:, width] = 1.0
    columns[:, width + 1] = rewards
    return columns


def weighted(problem: Problem, batch: Batch, *, loss: bool) -> Floats:
    """Return columns [1, r, w] as f64[n, 3], w the reward (or 1 - reward) over the logged propensity."""
    columns = np.ones((len(batch), 3))
    rewards = _rewards(problem, batch)
    columns[:, 1] = rewards
    # By the probability as logged: feedback comes late, and the probability of now would bias the sum.
    columns[:, 2] = (1.0 - rewards if loss else rewards) / propensities(batch)
    return columns


def propensities(batch: Batch) -> Floats:
    """Return the logged propensities, checked: f64[n] in [2⁻²⁰, 1]."""
    logged = batch.propensities
    if logged.size and not (logged.min() >= LEAST_PROPENSITY and logged.max() <= 1):
        raise Invalid(
            "a logged propensity is not in [2^-20, 1]; importance weights need the probability "
            "the arm was drawn with"
        )
    return logged


def check_shape(problem: Problem, sums: Sums, *, columns: int) -> None:
    """Raise `PolicyMismatch` when `sums` is not a state of this policy for `problem`."""
    found, expected = [sums.arms, sums.columns], [len(problem.arms), columns]
    if found != expected:
        raise PolicyMismatch(
            f"the state has {found[0]} arms and {found[1]} columns, this policy needs {expected[0]} "
            f"and {expected[1]}: grow it for new arms, replay the log for another policy",
            found=found,
            expected=expected,
        )


def _rewards(problem: Problem, batch: Batch) -> Floats:
    """Return rewards as they are summed: a declared range as [0, 1], anything else as it is."""
    n, rewards = len(batch), batch.rewards
    if batch.arms.shape != (n,) or rewards.shape != (n,) or batch.propensities.shape != (n,):
        raise Invalid("the batch's columns differ in length")
    if n == 0:
        return rewards
    # Written so that a NaN is refused too.
    lowest, highest = np.minimum.reduce(rewards), np.maximum.reduce(rewards)
    if not (lowest >= problem.low and highest <= problem.high):
        raise RewardInvalid(
            f"a reward in the batch is not finite or outside [{problem.low}, {problem.high}]",
            expected=[problem.low, problem.high],
        )
    # The papers' bonuses and priors are for rewards on [0, 1].
    if problem.is_ranged and (problem.low, problem.high) != (0.0, 1.0):
        return (rewards - problem.low) / problem.width
    return rewards
