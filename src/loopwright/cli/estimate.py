"""Means with 95 % intervals, and how many rows stand behind them."""

from __future__ import annotations

import math

import msgspec

from loopwright.stats.intervals import Z95, wilson


class Estimate(msgspec.Struct, frozen=True):
    """A mean reward with its interval; `effective` is how many equally weighted rows it is worth."""

    mean: float
    low: float
    high: float
    effective: float


class Tally:
    """Weighted rewards as they come."""

    def __init__(self) -> None:
        self.rows = 0
        self._weights = self._squares = self._rewards = 0.0
        self._weighted_squares = self._cross = self._reward_squares = 0.0
        self._is_whole = True

    def add(self, reward: float, weight: float = 1.0) -> None:
        """Count one reward."""
        self.rows += 1
        self._weights += weight
        self._squares += weight * weight
        self._rewards += weight * reward
        self._cross += weight * weight * reward
        self._reward_squares += weight * weight * reward * reward
        self._is_whole = self._is_whole and reward in (0.0, 1.0)

    def estimate(self) -> Estimate | None:
        """Return the self-normalised mean, None without a row.

        Rewards of 0 and 1 get Wilson's score interval (1927), others a normal one.
        """
        if not self.rows:
            return None
        mean = self._rewards / self._weights
        # Kish's effective sample size (1965): n for n equal weights, towards 1 when one weight outweighs
        # the others.
        effective = self._weights**2 / self._squares
        if self._is_whole:
            # Rounding may leave a mean of weighted ones a hair above 1.
            found = wilson(min(max(mean, 0.0), 1.0) * effective, effective)
            return Estimate(mean, found.low, found.high, effective)
        # The sum of w²(r - mean)², multiplied out so that no row has to be kept: by the delta method its
        # root over the sum of the weights is the standard error of a ratio of sums.
        spread = self._reward_squares - 2 * mean * self._cross + mean * mean * self._squares
        half = Z95 * math.sqrt(max(spread, 0.0)) / self._weights
        return Estimate(mean, mean - half, mean + half, effective)
