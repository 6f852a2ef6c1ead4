"""Counts, means and variances read off exact sums, without cancellation."""

from __future__ import annotations

import math
from typing import Final

from .base import ArmSummary, Problem
from .exact import Sums, readable

_Z95: Final = 1.959963984540054
_UNIT: Final = 1 << 48


class Tallies:
    """What context-free policies need of each arm, by position, as plain numbers.

    `counts`, `totals` (Σr), `means` (0 without data), `variances` (biased: Σ(r - mean)²/n, 0 without data) and
    `weighted` (the importance-weighted sum, when the state has one). `one` is the column of ones; the reward
    and the weight follow it. Variances come from whole numbers, so
    they do not suffer when the mean is large.
    """

    __slots__ = ("counts", "events", "means", "totals", "variances", "weighted")

    def __init__(self, sums: Sums, *, one: int) -> None:
        self.counts: list[int] = sums.counts.tolist()
        self.events = sum(self.counts)
        # Whole numbers of 2^-48, without bounds: n * q needs more than 64 bits.
        exact_totals = sums.exactly(one, one + 1)
        exact_squares = sums.exactly(one + 1, one + 1)
        self.totals = [total / _UNIT for total in exact_totals]
        self.means = [s / n if n else 0.0 for s, n in zip(self.totals, self.counts, strict=True)]
        self.variances = [
            # The shift is exact: s sums 1 * r, and the constant 1 is 2^24 grid steps. Both terms are whole, so
            # nothing cancels.
            (n * q - (s >> 24) ** 2) / (n * n * _UNIT) if n else 0.0
            for n, s, q in zip(self.counts, exact_totals, exact_squares, strict=True)
        ]
        has_weights = sums.columns > one + 2
        self.weighted = [w / _UNIT for w in sums.exactly(one, one + 2)] if has_weights else []

    def summary(self, problem: Problem, arm: int, *, share: float, p_best: float) -> ArmSummary:
        """Return one arm's summary in the reward's own units, with a 95 % interval.

        The interval is Wilson's (1927) for rewards in a declared range, where a variance of at most that of
        a coin makes it conservative, and the normal one otherwise.
        """
        n, mean = self.counts[arm], self.means[arm]
        if n == 0:
            return ArmSummary(
                arm=problem.arms[arm],
                n=0,
                mean=None,
                low=None,
                high=None,
                share=share,
                p_best=p_best,
            )
        low, high = self._interval(arm, is_ranged=problem.is_ranged)
        mean, low, high = (problem.origin + problem.width * value for value in (mean, low, high))
        mean = readable(mean, unit=problem.width)
        return ArmSummary(
            arm=problem.arms[arm], n=n, mean=mean, low=low, high=high, share=share, p_best=p_best
        )

    def _interval(self, arm: int, *, is_ranged: bool) -> tuple[float, float]:
        n, mean = self.counts[arm], self.means[arm]
        if not is_ranged:
            # The biased variance over n - 1 is the unbiased one over n.
            half = _Z95 * math.sqrt(self.variances[arm] / max(n - 1, 1))
            return mean - half, mean + half
        z2 = _Z95 * _Z95
        centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        # Rounding may leave [0, 1] by a last digit.
        return max(centre - half, 0.0), min(centre + half, 1.0)
