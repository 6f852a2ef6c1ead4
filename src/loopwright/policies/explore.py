"""Edits of a policy's law: exploration floor, minimum and maximum shares, masks.

They change the probabilities before the draw, so the logged propensity stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from loopwright.core.errors import Invalid, MaskEmpty, NoArms

from .base import LEAST_PROPENSITY, Allocation, Problem

_TINY: Final = 2.0**-960
"""Weights below this are next to nothing: dividing by their sum may leave the range of float64."""


class Exploration:
    """The rules of one allocation, checked once.

    Raises `NoArms` when no arm is enabled and `Invalid` when the shares cannot all be met.
    """

    __slots__ = ("_highs", "_lows", "enabled", "floor", "has_shares")

    def __init__(self, problem: Problem, allocation: Allocation) -> None:
        count = len(problem.arms)
        self._lows = allocation.min_share or (0.0,) * count
        self._highs = allocation.max_share or (1.0,) * count
        self.floor = allocation.explore_floor
        if not len(allocation.enabled) == len(self._lows) == len(self._highs) == count:
            raise Invalid(f"the allocation does not have one entry for each of {count} arms")
        self.enabled = tuple(k for k, is_enabled in enumerate(allocation.enabled) if is_enabled)
        self.has_shares = any(self._lows) or self._highs.count(1.0) < count
        self._check()
        if self.has_shares:
            self._check_shares(problem)

    def _check(self) -> None:
        if not self.enabled:
            raise NoArms("no arm is enabled; enable one before selecting")
        if not 0 <= self.floor <= 1:
            raise Invalid(f"explore_floor is {self.floor}; it is a share from 0 to 1")
        even = self.floor / len(self.enabled)
        if 0 < even < LEAST_PROPENSITY:
            raise Invalid(
                f"explore_floor {self.floor} over {len(self.enabled)} arms is less than 2^-20 each; "
                "raise it or set it to 0"
            )

    def _check_shares(self, problem: Problem) -> None:
        for k in self.enabled:
            low, high = self._lows[k], self._highs[k]
            if (
                not (0 <= low <= high <= 1)
                or 0 < low < LEAST_PROPENSITY
                or 0 < high < LEAST_PROPENSITY
            ):
                raise Invalid(
                    f"arm {problem.arms[k]!r} has min_share {low} and max_share {high}; they are shares "
                    "with min_share ≤ max_share, each 0 or at least 2^-20"
                )
        even = self.floor / len(self.enabled)
        # A maximum below the floor wins over the floor.
        least = math.fsum(max(self._lows[k], min(even, self._highs[k])) for k in self.enabled)
        # A tolerance, since shares are written as decimals: three times 0.3333333333 and the rest miss 1 by
        # rounding.
        if least > 1 + 1e-9:
            raise Invalid(
                f"min_share and explore_floor of the enabled arms take {least:.4g} of the traffic; "
                "lower them to 1 in all"
            )
        most = math.fsum(self._highs[k] for k in self.enabled)
        if most < 1 - 1e-9:
            raise Invalid(
                f"max_share of the enabled arms allows {most:.4g} of the traffic; raise it to 1 in all"
            )

    def allowed(self, mask: Sequence[int] | None) -> Sequence[int]:
        """Return the enabled positions that `mask` leaves; raises `MaskEmpty` when there is none."""
        if mask is None:
            return self.enabled
        wanted = set(mask)
        left = [k for k in self.enabled if k in wanted]
        if not left:
            raise MaskEmpty(
                "the mask leaves no enabled arm; allow at least one that is enabled",
                enabled=len(self.enabled),
            )
        return left

    def spread(self, base: Sequence[float], allowed: Sequence[int]) -> list[float]:
        """Return the law over all positions: `base` restricted to `allowed`, floor and shares applied.

        `base` holds non-negative weights; arms that all weigh nothing share evenly. Under a mask, maximum shares
        that can no longer be met are raised in proportion, and least shares lowered.
        """
        even = self.floor / len(allowed)
        shares = [(1 - self.floor) * w + even for w in _normal([base[k] for k in allowed])]
        lows, highs = [0.0] * len(allowed), [1.0] * len(allowed)
        if self.has_shares:
            highs = _raised([self._highs[k] for k in allowed])
            lows = [max(self._lows[k], min(even, h)) for k, h in zip(allowed, highs, strict=True)]
            shares = _between(shares, _lowered(lows), highs)
        # With a floor of at least 2^-20 for each arm there is no dust.
        if even < LEAST_PROPENSITY:
            shares = _without_dust(shares, highs)
        law = [0.0] * len(self._lows)
        for k, share in zip(allowed, shares, strict=True):
            # Rounding may add up to a little more than 1, which no importance weight may be divided by.
            law[k] = min(share, 1.0)
        return law


def _normal(weights: list[float]) -> list[float]:
    """Return `weights` divided by their sum, whatever their size.

    A mask may leave only arms whose weights are subnormal: one over their sum is infinite, and dividing by the
    largest first is safe.
    """
    total = math.fsum(weights)
    if total < _TINY:
        largest = max(weights)
        weights = [w / largest for w in weights] if largest > 0 else [1.0] * len(weights)
        total = math.fsum(weights)
    return [w / total for w in weights]


def _raised(highs: list[float]) -> list[float]:
    most = math.fsum(highs)
    if most >= 1:
        return highs
    return [h / most for h in highs] if most > 0 else [1 / len(highs)] * len(highs)


def _lowered(lows: list[float]) -> list[float]:
    """Return least shares that leave no more than all traffic: under a mask the floor weighs more on each arm."""
    least = math.fsum(lows)
    return lows if least <= 1 else [low / least for low in lows]


def winners(scores: Sequence[float], allowed: Sequence[int]) -> list[float]:
    """Return weights over all positions: even over the best-scored of `allowed`, 0 elsewhere."""
    best = max(scores[k] for k in allowed)
    weights = [0.0] * len(scores)
    for k in allowed:
        # Exactly equal: scores come from exact sums, so arms with equal data have equal scores.
        if scores[k] == best:
            weights[k] = 1.0
    return weights


def cumulative(law: Sequence[float]) -> list[float]:
    """Return running sums that end in infinity from the last arm that can be drawn on."""
    sums = list(accumulate(law))
    last = max(k for k, p in enumerate(law) if p > 0)
    # Rounding may leave the last sum below 1, and a uniform beyond it must still fall on an arm that can be
    # drawn.
    sums[last:] = [math.inf] * (len(law) - last)
    return sums


def _between(shares: list[float], lows: list[float], highs: list[float]) -> list[float]:
    """Return shares in proportion to `shares` but within the bounds, adding up to 1.

    Each round pins the side that overshoots more, which is then final (bounded proportional division).
    """
    free = set(range(len(shares)))
    found = list(shares)
    left = 1.0
    while free:
        weight = math.fsum(shares[i] for i in free)
        if weight < _TINY:
            break
        scale = left / weight
        under = {i: lows[i] - scale * shares[i] for i in free if scale * shares[i] < lows[i]}
        over = {i: scale * shares[i] - highs[i] for i in free if scale * shares[i] > highs[i]}
        if not under and not over:
            for i in free:
                found[i] = scale * shares[i]
            return found
        # Pinning both sides in one round could leave shares that no longer add up to 1 within the bounds.
        pinned, bounds = (
            (under, lows)
            if math.fsum(under.values()) >= math.fsum(over.values())
            else (over, highs)
        )
        for i in pinned:
            found[i] = bounds[i]
            left -= bounds[i]
            free.discard(i)
    return _filled(found, lows, highs, free=free, left=left)


def _filled(
    found: list[float], lows: list[float], highs: list[float], *, free: set[int], left: float
) -> list[float]:
    """Give what is `left` to arms the policy gave next to nothing: their minima, then by the room they have."""
    left -= math.fsum(lows[i] for i in free)
    room = math.fsum(highs[i] - lows[i] for i in free)
    for i in free:
        found[i] = lows[i] + (left * (highs[i] - lows[i]) / room if room > 0 else 0.0)
    return found


def _without_dust(shares: list[float], highs: list[float]) -> list[float]:
    """Return shares without those below 2⁻²⁰; the arm with the most room takes what they had."""
    kept = [share if share >= LEAST_PROPENSITY else 0.0 for share in shares]
    dust = 1 - math.fsum(kept)
    if dust > 0:
        # By room below its maximum, so that the dust lifts no arm above its bound.
        heir = max((i for i, s in enumerate(kept) if s > 0), key=lambda i: highs[i] - kept[i])
        kept[heir] += dust
    return kept
