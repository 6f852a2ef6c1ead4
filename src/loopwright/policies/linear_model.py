"""The estimates of linear policies: of each arm θ and A⁻¹ from the exact sums, and the noise over all arms.

With A = λI + Σxxᵀ and b = Σrx of an arm, θ = A⁻¹b. See `linear` for the policies and their papers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from . import columns
from .base import Diverged, Floats, Problem
from .exact import Sums

_PRIOR_VARIANCE: Final = 0.25
"""Variance of a fair coin: the most a reward on [0, 1] can have."""
_LEAST_VARIANCE: Final = 2.0**-48
_LEAST_RIDGE: Final = 2.0**-36


class Model:
    """Estimates and uncertainties of every arm, worked out from a state. Immutable.

    `theta` f64[K, d]; `inverse` f64[K, d, d]; `noise` the residual standard deviation over all arms.
    `previous` saves inverting what did not change; the result is the same bits with or without it.
    """

    __slots__ = ("_ridge", "_sums", "inverse", "noise", "theta")

    def __init__(
        self, problem: Problem, sums: Sums, *, ridge: float, previous: Model | None = None
    ) -> None:
        columns.check_shape(problem, sums, columns=problem.features + 2)
        self._sums = sums
        d, n = problem.dimension, sums.events
        products = sums.floats()
        targets: Floats = products[:, :d, -1]
        total, squares = np.add.reduce(products[:, -2:, -1], axis=0).tolist()
        variance = _PRIOR_VARIANCE
        if not problem.is_ranged and n:
            # Without a declared range zero means nothing: shrink towards the mean of all rewards instead.
            mean = total / n
            variance = max(squares / n - mean * mean, _LEAST_VARIANCE)
            if problem.intercept:
                # The sum of (r - mean) x is b - mean * sum of x; column -2 is the constant, so its products are
                # those sums.
                targets = targets - mean * products[:, :d, -2]
                squares -= n * mean * mean
        self._ridge = _pad(products, ridge, dimension=d)
        self.inverse = self._inverted(products[:, :d, :d], previous)
        self.theta = np.matmul(self.inverse, targets[:, :, None])[:, :, 0]
        # Q - b'theta is the residual sum of squares plus the ridge's penalty. Rounding may make it negative.
        residual = max(squares - float(np.vdot(targets, self.theta)), 0.0)
        # Inverse-gamma posterior with a prior worth two observations.
        self.noise = math.sqrt((2 * variance + residual) / (2 + n))
        # One sum for all entries: infinity and NaN survive every addition.
        if not math.isfinite(np.add.reduce(self.theta, axis=None) + self.noise):
            raise Diverged("the linear estimates are not finite; rewards or contexts are too large")

    def _inverted(self, padded: Floats, previous: Model | None) -> Floats:
        # Rebuilt and not updated by Sherman and Morrison's formula, whose rounding errors add up and depend on
        # the order of events.
        if previous is None or previous._ridge != self._ridge:
            return _inverse(padded)
        old, new = previous._sums, self._sums
        if old.low.shape != new.low.shape:
            return _inverse(padded)
        # The sums are exact, so an arm without new events has equal bits and keeps its inverse.
        changed = ((old.low != new.low) | (old.high != new.high)).any(axis=1)
        inverse = previous.inverse.copy()
        if changed.any():
            inverse[changed] = _inverse(padded[changed])
        return inverse


def _pad(products: Floats, ridge: float, *, dimension: int) -> float:
    """Add a ridge, in place, to the first `dimension` diagonal entries of f64[K, C, C], and return it.

    It is at least 2⁻³⁶ of the largest of them: below that float64 could not tell it from none.
    """
    arms, columns = products.shape[:2]
    step = columns + 1
    diagonal = products.reshape(arms, columns * columns)[:, : dimension * step : step]
    largest = float(np.maximum.reduce(diagonal, axis=None))
    ridge = max(ridge, largest * _LEAST_RIDGE)
    diagonal += ridge
    return ridge


def _inverse(matrices: Floats) -> Floats:
    try:
        return np.linalg.inv(matrices).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise Diverged(f"the sums of products cannot be inverted: {error}") from error
