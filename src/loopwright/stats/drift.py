"""Drift: whether a sample or a stream is still distributed as before.

PSI compares two samples; `Adwin` watches a stream and drops its past when the mean has moved.

References: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007; Yurdakul
and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation 14
(2020), for why PSI needs its noise level beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.core.errors import Invalid

from .intervals import LEVEL, Floats

FLOOR: Final = 1e-4
"""Least share of a bin, so that one that empties gives a large number and not an infinite one."""

# The usual marks of credit scoring. They ignore sample sizes, hence the noise level beside them.
SLIGHT: Final = 0.1
LARGE: Final = 0.25
MISSING: Final = "(missing)"
OTHER: Final = "(other)"

# M of the paper's exponential histogram: more buckets find a cut more exactly and cost memory.
_ROW: Final = 5
"""Buckets of one size that ADWIN keeps before it joins the two oldest."""
# A look walks over all buckets, so it is not taken at every value.
_LOOK_EVERY: Final = 32
# The normal part of the bound means nothing for fewer values on a side.
_SHORTEST_SIDE: Final = 5


class Psi(msgspec.Struct, frozen=True, kw_only=True):
    """The population stability index of two samples.

    `noise` is what it reaches in one of twenty comparisons without any drift, at these sample sizes. A value
    above `SLIGHT` (or `LARGE`) *and* above the noise is "slight" (or "large") drift. `bins` holds each bin's
    name and its share of reference and current sample.
    """

    value: float
    noise: float
    verdict: Literal["stable", "slight", "large", "too few"]
    reference_n: int
    current_n: int
    bins: tuple[tuple[str, float, float], ...]


def psi(
    reference: Floats,
    current: Floats,
    *,
    rng: np.random.Generator,
    bins: int = 10,
    least: int = 100,
    draws: int = 200,
) -> Psi:
    """Return the PSI of numbers, in `bins` quantile bins of the reference; NaN is a bin of its own.

    A reference of at most `bins` distinct values is compared value by value. Below `least` values on either
    side the verdict is "too few". Raises `Invalid` for fewer than two bins.
    """
    if bins < 2:
        raise Invalid(f"bins is {bins}; PSI needs at least 2")
    known = reference[~np.isnan(reference)]
    distinct = np.unique(known)
    # Quantiles of few distinct values coincide, and most bins would be empty.
    if len(distinct) <= bins:
        return psi_categorical(
            _spelled(reference), _spelled(current), rng=rng, least=least, draws=draws
        )
    # method "lower" keeps infinite values from turning an edge into NaN.
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="lower"))
    names = [f"≤ {edge:g}" for edge in edges] + [f"> {edges[-1]:g}", MISSING]
    sides = [_placed(values, edges) for values in (reference, current)]
    return _compare(names, sides[0], sides[1], rng=rng, least=least, draws=draws)


def psi_categorical(
    reference: Sequence[str | None],
    current: Sequence[str | None],
    *,
    rng: np.random.Generator,
    most: int = 50,
    least: int = 100,
    draws: int = 200,
) -> Psi:
    """Return the PSI of categories; None is one, and those past the `most` commonest are one together."""
    return psi_counts(
        Counter(reference), Counter(current), rng=rng, most=most, least=least, draws=draws
    )


def psi_counts(
    reference: Mapping[str | None, int],
    current: Mapping[str | None, int],
    *,
    rng: np.random.Generator,
    most: int = 50,
    least: int = 100,
    draws: int = 200,
) -> Psi:
    """Return the PSI of categories that are counted already, as `psi_categorical` does of single ones."""
    sides = [Counter[str](), Counter[str]()]
    for side, counts in zip(sides, (reference, current), strict=True):
        for value, n in counts.items():
            side[MISSING if value is None else value] += n
    both = sides[0] + sides[1]
    # Ties go by name, so that the bins do not depend on the order of the rows.
    ranked = sorted(both, key=lambda name: (-both[name], name))
    names = ranked[:most] + ([OTHER] if len(ranked) > most else [])
    tallies = [np.zeros(len(names), dtype=np.int64) for _ in sides]
    for code, name in enumerate(ranked):
        for tally, side in zip(tallies, sides, strict=True):
            tally[min(code, most)] += side[name]
    return _compare(names, tallies[0], tallies[1], rng=rng, least=least, draws=draws)


class Adwin:
    """A window over a stream of numbers that shrinks when its mean has changed.

    The window is kept as buckets of growing powers of two, so it costs O(log n) memory, and is looked at every
    32 values. `delta` bounds the probability of a false alarm. Values lie in [`low`, `high`].
    """

    def __init__(self, delta: float = 0.002, *, low: float = 0.0, high: float = 1.0) -> None:
        if not 0 < delta < 1 or not low < high:
            raise Invalid(
                f"found delta {delta} over [{low}, {high}]; expected 0 < delta < 1 and low < high"
            )
        self._delta, self._low, self._scale = delta, low, high - low
        # One list per power of two, newest bucket last: (sum, squared deviations from its own mean).
        self._rows: list[list[tuple[float, float]]] = [[]]
        self._seen = self.width = 0
        self._total = self._scatter = 0.0

    @property
    def mean(self) -> float:
        """Mean of the values in the window; 0 before the first."""
        return self._low + self._scale * self._total / self.width if self.width else 0.0

    @property
    def variance(self) -> float:
        """Variance of the values in the window, over their number; 0 before the first."""
        return self._scale**2 * self._scatter / self.width if self.width else 0.0

    def add(self, value: float) -> bool:
        """Take one value; return whether the mean was found to have changed, and the past dropped.

        Raises `Invalid` for a value outside the declared range.
        """
        if not self._low <= value <= self._low + self._scale:
            raise Invalid(
                f"value is {value}; this window takes {self._low} to {self._low + self._scale}"
            )
        unit = (value - self._low) / self._scale
        if self.width:
            # Welford's update: squares of deviations, never a difference of large sums, which would cancel.
            self._scatter += (unit - self._total / self.width) ** 2 * self.width / (self.width + 1)
        self._rows[0].append((unit, 0.0))
        self._total += unit
        self.width += 1
        self._seen += 1
        self._join()
        return self._seen % _LOOK_EVERY == 0 and self._shrink()

    def _join(self) -> None:
        for power, row in enumerate(self._rows):
            if len(row) <= _ROW:
                return
            if power + 1 == len(self._rows):
                self._rows.append([])
            (sum_a, scatter_a), (sum_b, scatter_b) = row[0], row[1]
            del row[:2]
            # Chan, Golub and LeVeque: deviations from the joint mean are those within both halves, plus between them.
            between = (sum_a - sum_b) ** 2 / (2 << power)
            self._rows[power + 1].append((sum_a + sum_b, scatter_a + scatter_b + between))

    def _shrink(self) -> bool:
        has_changed = False
        # One bucket at a time: the newest values are kept for as long as they agree (ADWIN2).
        while self._has_cut():
            self._drop_oldest()
            has_changed = True
        return has_changed

    def _has_cut(self) -> bool:
        """Say whether some split of the window, older from newer, has means too far apart."""
        older_n, older_sum = 0, 0.0
        for power in range(len(self._rows) - 1, -1, -1):
            for bucket_sum, _ in self._rows[power]:
                older_n += 1 << power
                older_sum += bucket_sum
                newer_n = self.width - older_n
                if newer_n < _SHORTEST_SIDE:
                    return False
                if older_n >= _SHORTEST_SIDE:
                    apart = abs(older_sum / older_n - (self._total - older_sum) / newer_n)
                    if apart > self._bound(older_n, newer_n):
                        return True
        return False

    def _bound(self, older_n: int, newer_n: int) -> float:
        """Return the distance of means that chance explains (theorem 3.2, with ln n tests for n)."""
        # The variance of the window in place of Hoeffding's worst case: rates near 0 or 1 are watched more sharply.
        log_term = math.log(2 * math.log(self.width) / self._delta)
        per_size = 1 / older_n + 1 / newer_n
        variance = self._scatter / self.width
        return math.sqrt(2 * per_size * variance * log_term) + 2 / 3 * per_size * log_term

    def _drop_oldest(self) -> None:
        size, (bucket_sum, bucket_scatter) = 1 << (len(self._rows) - 1), self._rows[-1].pop(0)
        self.width -= size
        self._total -= bucket_sum
        apart = bucket_sum / size - self._total / self.width
        between = apart**2 * size * self.width / (size + self.width)
        # The reverse of `_join`; rounding could leave it a hair below 0, which has no root.
        self._scatter = max(self._scatter - bucket_scatter - between, 0.0)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()


def adwin(
    values: Iterable[float], *, delta: float = 0.002, low: float = 0.0, high: float = 1.0
) -> tuple[int, ...]:
    """Return the positions at which `Adwin` notices a change."""
    window = Adwin(delta, low=low, high=high)
    return tuple(position for position, value in enumerate(values) if window.add(value))


def _placed(values: Floats, edges: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many values lie in each bin, those that are missing last."""
    is_missing = np.isnan(values)
    # A value equal to an edge lies in the bin that ends there, as the bin's name says.
    places = np.searchsorted(edges, values[~is_missing], side="left")
    tally = np.bincount(places, minlength=len(edges) + 1)
    return np.append(tally, np.count_nonzero(is_missing)).astype(np.int64)


def _spelled(values: Floats) -> list[str | None]:
    # Twelve digits: values that differ by rounding alone are one category.
    return [None if math.isnan(value) else f"{value:.12g}" for value in values.tolist()]


def _compare(
    names: Sequence[str],
    reference: np.ndarray[tuple[int], np.dtype[np.int64]],
    current: np.ndarray[tuple[int], np.dtype[np.int64]],
    *,
    rng: np.random.Generator,
    least: int,
    draws: int,
) -> Psi:
    sizes = int(reference.sum()), int(current.sum())
    if min(sizes) == 0:
        return Psi(
            value=0.0,
            noise=0.0,
            verdict="too few",
            reference_n=sizes[0],
            current_n=sizes[1],
            bins=(),
        )
    shares = reference / sizes[0], current / sizes[1]
    value = float(_index(shares[0], shares[1]))
    noise = float(
        np.quantile(_without_drift(reference + current, sizes, rng=rng, draws=draws), LEVEL)
    )
    return Psi(
        value=value,
        noise=noise,
        verdict="too few" if min(sizes) < least else _verdict(value, noise),
        reference_n=sizes[0],
        current_n=sizes[1],
        bins=tuple(zip(names, shares[0].tolist(), shares[1].tolist(), strict=True)),
    )


def _without_drift(
    pooled: np.ndarray[tuple[int], np.dtype[np.int64]],
    sizes: tuple[int, int],
    *,
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """Return the PSI of pairs of samples that both come from the pooled shares."""
    # Under the null hypothesis both samples have the same shares, and all rows together estimate these best.
    shares = pooled / pooled.sum()
    first, second = (rng.multinomial(size, shares, size=draws) / size for size in sizes)
    return _index(first, second)


def _verdict(value: float, noise: float) -> Literal["stable", "slight", "large"]:
    if value <= noise or value <= SLIGHT:
        return "stable"
    return "large" if value > LARGE else "slight"


def _index(reference: Floats, current: Floats) -> Floats:
    """Return Σ (q - p) ln(q / p) over the last axis, with shares floored."""
    # The logarithm needs the floor: one empty bin would make the index infinite.
    p, q = np.maximum(reference, FLOOR), np.maximum(current, FLOOR)
    summed: Floats = np.sum((q - p) * np.log(q / p), axis=-1)
    return summed
