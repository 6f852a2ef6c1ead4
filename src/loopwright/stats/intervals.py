"""How sure a number is: every rate and mean of a report comes with an interval.

References: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927);
Kish, "Survey Sampling" (1965), for the effective sample size; Newcombe, "Interval estimation for the
difference between independent proportions", Statistics in Medicine 17 (1998); Efron and Tibshirani, "An
Introduction to the Bootstrap" (1993).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

LEVEL: Final = 0.95
"""Confidence level of every interval that says no other."""

_NORMAL: Final = NormalDist()

Z95: Final = _NORMAL.inv_cdf((1 + LEVEL) / 2)
"""A normal variable lies within ±this with probability `LEVEL`: 1.96."""

# From here on the series has converged to six digits, and bisecting is not needed.
_MANY_DEGREES: Final = 30
# 16 MB of row numbers, and as much again for the values they pick.
_DRAWN_AT_ONCE: Final = 2_000_000
"""Numbers the bootstrap holds in memory at a time."""


class TooFew(Invalid):
    """There are too few observations for the number asked for."""

    code = "too_few_observations"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate and the range that holds the truth with probability `level`.

    `n` is the effective number of independent observations behind it.
    """

    estimate: float
    low: float
    high: float
    n: float
    level: float = LEVEL


def normal_quantile(level: float) -> float:
    """Return z such that a normal variable lies within ±z with probability `level`."""
    if not 0 < level < 1:
        raise Invalid(f"level is {level}; a confidence level lies between 0 and 1, as 0.95")
    return _NORMAL.inv_cdf((1 + level) / 2)


# Cached: a report asks for the same degrees again and again, and bisecting takes 80 evaluations.
@lru_cache(maxsize=1024)
def student_quantile(level: float, degrees: int) -> float:
    """Return t such that Student's t with `degrees` of freedom lies within ±t with probability `level`.

    Bisected in the closed form of the distribution; from 30 degrees on by Cornish and Fisher's expansion of
    the normal quantile (Abramowitz and Stegun 26.7.3 to 26.7.5), which is then right to six digits.
    """
    z = normal_quantile(level)
    if degrees < 1:
        raise Invalid(f"found {degrees} degrees of freedom; expected at least 1")
    if degrees >= _MANY_DEGREES:
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
        return z + (((fourth / degrees + third) / degrees + second) / degrees + first) / degrees
    # Between the normal quantile and a bound from the widest tail, that of one degree: P(|T| > t) < 2 ÷ (π t).
    low, high = z, 2 / (math.pi * (1 - level)) * 2 + z
    # More halvings than a float64 has digits: the bounds end side by side.
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < level else (low, middle)
    return high


def effective_size(weights: Floats) -> float:
    """Return how many equally weighted observations `weights` are worth: (Σw)² ÷ Σw² (Kish)."""
    squares = float(np.dot(weights, weights))
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def wilson(successes: float, n: float, *, level: float = LEVEL) -> Interval:
    """Return the score interval of a rate. Raises `TooFew` for n = 0, `Invalid` for more successes than n."""
    if not 0 <= successes <= n:
        raise Invalid(f"found {successes} successes among {n}; expected between 0 and {n}")
    if n == 0:
        raise TooFew("no observation, so there is no rate; widen the period")
    rate, z2 = successes / n, normal_quantile(level) ** 2
    # Not rate ± z·√(rate (1 - rate) ÷ n): that has no width at 0 of 3, and leaves [0, 1] near its ends.
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and at n the bound is the rate itself; rounding must not move it inside.
    low = 0.0 if successes == 0 else max(centre - half, 0.0)
    high = 1.0 if successes == n else min(centre + half, 1.0)
    return Interval(estimate=rate, low=low, high=high, n=n, level=level)


def weighted_rate(values: Floats, weights: Floats, *, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a rate over 0/1 `values` that count by `weights`, at the effective size.

    Raises `TooFew` when all weights are 0.
    """
    _check(values, weights)
    size = effective_size(weights)
    if size == 0:
        raise TooFew("no observation counts, so there is no rate; widen the period")
    # Rounding can carry a quotient of sums past 1, and Wilson's root past 0.
    rate = min(max(float(np.dot(weights, values) / weights.sum()), 0.0), 1.0)
    return wilson(rate * size, size, level=level)


def mean(values: Floats, *, weights: Floats | None = None, level: float = LEVEL) -> Interval:
    """Return the interval of a mean by its standard error and Student's t.

    With `weights` it is that of the ratio Σwv ÷ Σw. Raises `TooFew` with fewer than two that count.
    """
    heavy = np.ones(len(values)) if weights is None else weights
    _check(values, heavy)
    # Rows without weight would count as degrees of freedom.
    counted = heavy > 0
    return _ratio(values[counted] * heavy[counted], heavy[counted], level=level)


def clustered(
    values: Floats, units: Codes, *, weights: Floats | None = None, level: float = LEVEL
) -> Interval:
    """Return the interval of a mean when units repeat: events of one user are not independent.

    Linearised: the variance between the units' totals. `units` are codes from 0. Cheap at any size; below
    some forty units prefer `bootstrap`. Raises `TooFew` with fewer than two units.
    """
    heavy = np.ones(len(values)) if weights is None else weights
    _check(values, heavy, units)
    totals, sizes = _per_unit(values, units, heavy)
    return _ratio(totals, sizes, level=level)


def bootstrap(
    values: Floats,
    units: Codes,
    *,
    rng: np.random.Generator,
    weights: Floats | None = None,
    level: float = LEVEL,
    draws: int = 1000,
) -> Interval:
    """Return the percentile interval of a mean, drawing whole units with replacement.

    `units` are codes from 0. The same `rng` state gives the same interval. Units that are alike are drawn
    together, so rates over millions of users cost little; with continuous values it costs draws times units.
    Raises `TooFew` with fewer than two units.
    """
    heavy = np.ones(len(values)) if weights is None else weights
    _check(values, heavy, units)
    totals, sizes = _per_unit(values, units, heavy)
    if len(totals) < 2:
        raise TooFew(f"found {len(totals)} unit; an interval over units needs at least 2")
    # Units, not rows: twenty ratings of one person are not twenty opinions.
    means = _resampled(totals, sizes, rng=rng, draws=draws)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2)).tolist()
    estimate = float(totals.sum() / sizes.sum())
    return Interval(estimate=estimate, low=low, high=high, n=effective_size(sizes), level=level)


def difference(first: Interval, second: Interval) -> Interval:
    """Return the interval of `first` - `second`, both of one level and independent (Newcombe's method 10).

    It squares and adds the distances to the bounds, so it keeps the skew of Wilson's intervals. Raises
    `Invalid` when the levels differ.
    """
    if first.level != second.level:
        raise Invalid(f"intervals of level {first.level} and {second.level} do not subtract")
    apart = first.estimate - second.estimate
    return Interval(
        estimate=apart,
        low=apart - math.hypot(first.estimate - first.low, second.high - second.estimate),
        high=apart + math.hypot(first.high - first.estimate, second.estimate - second.low),
        n=min(first.n, second.n),
        level=first.level,
    )


def _check(values: Floats, weights: Floats, units: Codes | None = None) -> None:
    if len(values) != len(weights) or (units is not None and len(units) != len(values)):
        raise Invalid(f"found {len(values)} values and {len(weights)} weights; give one per row")
    if len(values) and not (np.isfinite(values).all() and (weights >= 0).all()):
        raise Invalid("values must be finite and weights at least 0; leave out what is missing")


def _per_unit(values: Floats, units: Codes, heavy: Floats) -> tuple[Floats, Floats]:
    """Return each unit's weighted total and its weight, for units that count."""
    totals: Floats = np.bincount(units, weights=values * heavy).astype(np.float64)
    sizes: Floats = np.bincount(units, weights=heavy).astype(np.float64)
    return totals[sizes > 0], sizes[sizes > 0]


def _ratio(totals: Floats, sizes: Floats, *, level: float) -> Interval:
    """Return the interval of Σtotals ÷ Σsizes over independent pairs, linearised."""
    count = len(totals)
    if count < 2:
        raise TooFew(f"found {count} independent observations; an interval needs at least 2")
    whole = float(sizes.sum())
    estimate = float(totals.sum()) / whole
    # The delta method: a ratio's deviation is, to first order, that of Σ(total - ratio · size).
    off = totals - estimate * sizes
    error = math.sqrt(float(np.dot(off, off)) * count / (count - 1)) / whole
    half = student_quantile(level, count - 1) * error
    size = effective_size(sizes)
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, n=size, level=level
    )


def _resampled(totals: Floats, sizes: Floats, *, rng: np.random.Generator, draws: int) -> Floats:
    """Return the mean of each of `draws` samples of the units."""
    count = len(totals)
    kinds, repeats = np.unique(np.stack((totals, sizes), axis=1), axis=0, return_counts=True)
    # How often each kind of unit is drawn is multinomial: the same distribution, without drawing unit by unit.
    if len(kinds) <= count // 8:
        times = rng.multinomial(count, repeats / count, size=draws)
        return _divided(times @ kinds)
    found = np.empty((draws, 2))
    # In blocks: all draws at once would hold draws * units numbers.
    step = max(_DRAWN_AT_ONCE // count, 1)
    for start in range(0, draws, step):
        rows = rng.integers(count, size=(min(step, draws - start), count))
        found[start : start + step, 0] = totals[rows].sum(axis=1)
        found[start : start + step, 1] = sizes[rows].sum(axis=1)
    return _divided(found)


def _divided(pairs: NDArray[Any]) -> Floats:
    quotients: Floats = pairs[:, 0] / pairs[:, 1]
    return quotients


def _within(t: float, degrees: int) -> float:
    """Return P(|T| ≤ t) for Student's t with `degrees` of freedom."""
    # Abramowitz and Stegun 26.7.3 for odd degrees, 26.7.4 for even ones.
    angle = math.atan(t / math.sqrt(degrees))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    is_odd = degrees % 2
    term = total = math.cos(angle) if is_odd else 1.0
    for k in range(2 + is_odd, degrees - 1, 2):
        term *= square * (k - 1) / k
        total += term
    if not is_odd:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if degrees > 1 else 0.0))
