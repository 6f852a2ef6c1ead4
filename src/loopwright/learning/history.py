"""How rewards moved over time, in little space and in any order.

Received rewards are summed in buckets of the time their decision was made. The width of a bucket is the
smallest power of two (in ms, from about a second) at which all decisions fit into `MAX_BUCKETS`, so it depends
on the first and last decision alone. Sums are whole numbers on the grid of 2⁻²⁴ that policies use. The same
facts in another order, or in other batches, therefore give the same history, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from loopwright.core.reward import BOUND
from loopwright.core.status import RewardPart
from loopwright.policies.exact import readable

MAX_BUCKETS: Final = 64
_GRID: Final = float(1 << 24)
_LIMB: Final = 22
"""Bits of the low half of a value on the grid: products of halves, summed over a batch, stay below 2⁶³."""
_NARROWEST: Final = 10
_SMALL: Final = 24
_WORD: Final = 1 << 62


class Bucket(msgspec.Struct, array_like=True):
    """Exact sums of the rewards of one stretch of time."""

    n: int = 0
    total: int = 0
    squares: int = 0
    low: float = math.inf
    high: float = -math.inf

    def take(self, other: Bucket) -> None:
        """Add the sums of `other`."""
        self.n += other.n
        self.total += other.total
        self.squares += other.squares
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class History:
    """Sums of rewards by the time of their decision."""

    def __init__(self) -> None:
        self._shift = _NARROWEST
        self._buckets: dict[int, Bucket] = {}

    def add(self, decided_at_ms: Sequence[int], values: Sequence[float]) -> None:
        """Take in rewards as they were received, each with the time of its decision."""
        first, last = min(decided_at_ms), max(decided_at_ms)
        self._widen(first, last)
        if first >> self._shift == last >> self._shift:
            self._put(first >> self._shift, _summed(values))
            return
        parts: dict[int, list[float]] = {}
        shift = self._shift
        for at_ms, value in zip(decided_at_ms, values, strict=True):
            parts.setdefault(at_ms >> shift, []).append(value)
        for key, part in parts.items():
            self._put(key, _summed(part))

    def halves(self) -> tuple[RewardPart, RewardPart] | None:
        """Return the earlier and the later half of the rewards, as nearly as buckets allow.

        None until there are two buckets.
        """
        if len(self._buckets) < 2:
            return None
        buckets = [self._buckets[key] for key in sorted(self._buckets)]
        ends = np.cumsum([bucket.n for bucket in buckets])
        cut = int(np.argmin(np.abs(ends[:-1] * 2 - ends[-1]))) + 1
        return _part(buckets[:cut]), _part(buckets[cut:])

    def dump(self) -> list[object]:
        """Return plain values for `load`; sums of squares outgrow 64 bits and travel as two numbers."""
        return [
            self._shift,
            [
                [key, b.n, b.total, *divmod(b.squares, _WORD), b.low, b.high]
                for key, b in sorted(self._buckets.items())
            ],
        ]

    @classmethod
    def load(cls, dumped: Sequence[object]) -> History:
        """Return the history that `dump` wrote."""
        history = cls()
        shift, buckets = msgspec.convert(
            dumped, tuple[int, list[tuple[int, int, int, int, int, float, float]]]
        )
        history._shift = shift
        history._buckets = {
            key: Bucket(n, total, high * _WORD + low, least, most)
            for key, n, total, high, low, least, most in buckets
        }
        return history

    def _widen(self, first: int, last: int) -> None:
        if self._buckets:
            shift = self._shift
            first = min(first, min(self._buckets) << shift)
            last = max(last, max(self._buckets) << shift)
        while (last >> self._shift) - (first >> self._shift) >= MAX_BUCKETS:
            self._shift += 1
            narrow, self._buckets = self._buckets, {}
            for key, bucket in narrow.items():
                self._put(key >> 1, bucket)

    def _put(self, key: int, bucket: Bucket) -> None:
        known = self._buckets.get(key)
        if known is None:
            self._buckets[key] = bucket
        else:
            known.take(bucket)


def _summed(values: Sequence[float]) -> Bucket:
    """Return exact sums of `values`, each rounded to the grid and held within ±2²⁰."""
    if len(values) <= _SMALL:
        grid = [round(min(max(value, -BOUND), BOUND) * _GRID) for value in values]
        total, squares = sum(grid), sum(z * z for z in grid)
    else:
        z = np.rint(np.clip(np.array(values), -BOUND, BOUND) * _GRID).astype(np.int64)
        high, low = z >> _LIMB, z & ((1 << _LIMB) - 1)
        total = int(z.sum())
        squares = (int(high @ high) << 2 * _LIMB) + (int(high @ low) << _LIMB + 1) + int(low @ low)
    return Bucket(len(values), total, squares, min(values), max(values))


def _part(buckets: Sequence[Bucket]) -> RewardPart:
    whole = Bucket()
    for bucket in buckets:
        whole.take(bucket)
    # n Σz² - (Σz)² in whole numbers: no cancellation.
    spread = whole.n * whole.squares - whole.total**2
    return RewardPart(
        n=whole.n,
        minimum=whole.low,
        maximum=whole.high,
        mean=readable(whole.total / whole.n / _GRID),
        sd=math.sqrt(spread / (whole.n * (whole.n - 1))) / _GRID if whole.n > 1 else 0.0,
    )
