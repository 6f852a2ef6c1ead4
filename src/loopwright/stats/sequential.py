"""Tests that stay valid however often somebody looks: for gates, rollbacks and sample ratios.

An e-process is a non-negative process whose mean under the null hypothesis never exceeds 1. By Ville's inequality the
probability that it ever reaches 1 ÷ alpha is at most alpha, whenever one stops. A confidence sequence is the same
promise for an interval: it covers the truth at all times at once.

References: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics 52 (2024); Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024); Lindon and Malek, "Anytime-valid inference for multinomial count data",
NeurIPS 35 (2022); Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data", WSDM (2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.gate import PLANNED_UNITS

_LEAST_VARIANCE: Final = 1e-12


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over units, one value per unit; `x` is the unit's earlier value, from before the experiment."""

    n: int = 0
    y: float = 0.0
    yy: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @property
    def mean(self) -> float:
        """The mean value; 0 without units."""
        return self.y / self.n if self.n else 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            n=self.n + other.n,
            y=self.y + other.y,
            yy=self.yy + other.yy,
            x=self.x + other.x,
            xx=self.xx + other.xx,
            xy=self.xy + other.xy,
        )


def moments(values: Iterable[float], earlier: Iterable[float] | None = None) -> Moments:
    """Return the sums over one value per unit, and over what each unit's value was earlier."""
    ys = list(values)
    xs = [0.0] * len(ys) if earlier is None else list(earlier)
    if len(xs) != len(ys):
        raise Invalid(f"found {len(ys)} values and {len(xs)} earlier ones; give one per unit")
    if not all(map(math.isfinite, (*ys, *xs))):
        raise Invalid("values must be finite; leave out what is missing")
    return Moments(
        n=len(ys),
        y=math.fsum(ys),
        yy=math.fsum(v * v for v in ys),
        x=math.fsum(xs),
        xx=math.fsum(v * v for v in xs),
        xy=math.fsum(a * b for a, b in zip(xs, ys, strict=True)),
    )


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference of two means, and bounds that each hold at all times at once with probability 1 - alpha.

    `low` and `high` are one-sided bounds. `units` is how many stand behind it, `variance` the difference's variance
    times `units`: it stays put while units come, so it tells how many more are needed.
    """

    estimate: float
    low: float
    high: float
    units: int
    variance: float
    theta: float = 0.0
    """How much of a unit's earlier value was taken off (CUPED); 0 when there is none."""


def half_width(units: int, variance: float, *, alpha: float, planned: int = PLANNED_UNITS) -> float:
    """Return the width of a one-sided asymptotic confidence sequence; infinite below two units.

    `variance` is per unit. Proposition 2.7 of Waudby-Smith et al. (2024), with the boundary tuned for `planned` units.
    """
    _check_alpha(alpha)
    if units < 2:
        return math.inf
    r = _tuning(alpha, planned)
    at = units * r + 1
    inside = 2 * at / (units * units * r) * math.log1p(math.sqrt(at) / (2 * alpha))
    return math.sqrt(max(variance, _LEAST_VARIANCE) * inside)


def difference(
    champion: Moments, challenger: Moments, *, alpha: float, planned: int = PLANNED_UNITS
) -> Difference:
    """Return how much the challenger's mean lies above the champion's, at the unit of assignment.

    Where units have earlier values, what these explain is taken off (CUPED), which leaves the estimate unbiased, as
    the earlier values cannot depend on the arm.
    """
    units = champion.n + challenger.n
    if champion.n < 2 or challenger.n < 2:
        apart = challenger.mean - champion.mean if champion.n and challenger.n else 0.0
        return Difference(
            estimate=apart, low=-math.inf, high=math.inf, units=units, variance=math.inf
        )
    theta = _theta(champion, challenger)
    estimate = (challenger.y - theta * challenger.x) / challenger.n - (
        champion.y - theta * champion.x
    ) / champion.n
    variance = units * (
        _spread(champion, theta) / champion.n + _spread(challenger, theta) / challenger.n
    )
    half = half_width(units, variance, alpha=alpha, planned=planned)
    return Difference(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        units=units,
        variance=variance,
        theta=theta,
    )


def units_until(
    distance: float, variance: float, *, alpha: float, planned: int = PLANNED_UNITS
) -> int | None:
    """Return at how many units the width falls below `distance`, were it and the variance to stay; None if beyond 10^9."""
    if not (distance > 0 and math.isfinite(variance)):
        return None
    low, high = 2, 4
    while half_width(high, variance, alpha=alpha, planned=planned) > distance:
        low, high = high, high * 2
        if high > 1_000_000_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if half_width(middle, variance, alpha=alpha, planned=planned) > distance:
            low = middle
        else:
            high = middle
    return high


class Wealth(msgspec.Struct, frozen=True, kw_only=True):
    """A bet against "the mean is at most 0" of values that are never below `-floor`; log of the e-process.

    The stake is set before each value comes (aGRAPA of Waudby-Smith and Ramdas 2024), from regularised sums of what
    came before.
    """

    floor: float
    decay: float = 1.0
    """How much of the sums is kept from one value to the next: below 1, a change after long good times is seen soon,
    as the stake follows what came last."""
    n: int = 0
    weight: float = 0.0
    """Number of values, those of long ago counting less."""
    total: float = 0.0
    squares: float = 0.0
    log_e: float = 0.0
    highest: float = 0.0
    """The highest `log_e` so far: by Ville's inequality it may be compared with log(1 ÷ alpha)."""

    def after(self, value: float) -> Wealth:
        """Return the wealth once `value` has come. Raises `Invalid` for a value below `-floor`."""
        if not value >= -self.floor * (1 + 1e-9) or not math.isfinite(value):
            raise Invalid(
                f"found {value}; a bet with the floor {self.floor} takes finite values from -{self.floor}"
            )
        log_e = self.log_e + math.log1p(self.stake * value)
        return Wealth(
            floor=self.floor,
            decay=self.decay,
            n=self.n + 1,
            weight=self.decay * self.weight + 1,
            total=self.decay * self.total + value,
            squares=self.decay * self.squares + value * value,
            log_e=log_e,
            highest=max(self.highest, log_e),
        )

    @property
    def stake(self) -> float:
        """The share of the wealth that is bet on the next value, per unit of it."""
        # One imagined value of 0 and a variance of a quarter of the range squared: the first stakes are small.
        mean = self.total / (self.weight + 1)
        square = (self.squares + self.floor * self.floor / 4) / (self.weight + 1)
        # Half of what would lose all at one blow: the usual truncation.
        return min(max(mean, 0.0) / square, 0.5 / self.floor)

    def rejects(self, alpha: float) -> bool:
        """Return whether "at most 0" is refuted at level `alpha`, by all that came so far."""
        _check_alpha(alpha)
        return self.highest >= math.log(1 / alpha)


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the log of an e-process against "units fall on the arms by `shares`" (Lindon and Malek 2022).

    `shares` are positive and sum to 1. Their Dirichlet prior is centred on `shares` with the weight of a hundred units.
    """
    if len(counts) != len(shares) or min(shares, default=0.0) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise Invalid(
            f"found shares {list(shares)} for {len(counts)} counts; give positive ones that sum to 1"
        )
    weight = 100.0
    total = sum(counts)
    log_e = math.lgamma(weight) - math.lgamma(weight + total)
    for count, share in zip(counts, shares, strict=True):
        log_e += math.lgamma(weight * share + count) - math.lgamma(weight * share)
        log_e -= count * math.log(share)
    return log_e


def _tuning(alpha: float, planned: int) -> float:
    # Equation 13 there: the rho squared at which the boundary is narrowest after `planned` units, for twice alpha.
    a = min(2 * alpha, 0.99)
    return (-2 * math.log(a) + math.log(-2 * math.log(a) + 1)) / max(planned, 2)


def _theta(champion: Moments, challenger: Moments) -> float:
    """Return the slope of values on earlier values, within the arms, so that their difference does not enter."""
    spread = sum(m.xx - m.x * m.x / m.n for m in (champion, challenger))
    together = sum(m.xy - m.x * m.y / m.n for m in (champion, challenger))
    return together / spread if spread > _LEAST_VARIANCE else 0.0


def _spread(of: Moments, theta: float) -> float:
    """Return the variance, per unit, of what is left of the values."""
    yy = of.yy - of.y * of.y / of.n
    xy = of.xy - of.x * of.y / of.n
    xx = of.xx - of.x * of.x / of.n
    return max(yy - 2 * theta * xy + theta * theta * xx, 0.0) / (of.n - 1)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise Invalid(
            f"alpha is {alpha}; the probability of a false alarm lies between 0 and 0.5, as 0.05"
        )
