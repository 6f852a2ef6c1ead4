"""Trends, changepoints, and comparisons of versions that may be read at any moment.

`slope` and `changes` read a series of periods; `regressions` compares versions unit by unit as the rows come
in, with an interval that holds at every moment, so that it may be looked at after every row.

References: Page, "Continuous inspection schemes", Biometrika 41 (1954), and Hinkley, "Inference about the
change-point from cumulative sum tests", Biometrika 58 (1971), for the statistic; Vostrikova, "Detecting
'disorder' in multidimensional random processes" (1981), for binary segmentation; Phipson and Smyth,
"Permutation p-values should never be zero" (2010); Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024).
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.core.errors import Invalid

from .intervals import LEVEL, Codes, Floats, Interval, TooFew, student_quantile

NONE: Final = -1
"""No such row or period."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of a series changed with period `at`; `p` is how often chance alone splits a series as well."""

    at: int
    before: float
    after: float
    p: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One version against the baseline over units that came at the same time.

    `difference` is version - baseline, with an interval that holds at all times and for all versions at once;
    None below the least number of units. `detected_at` is the first row at which it lay wholly on the bad
    side of the margin, -1 while it has not.
    """

    version: int
    baseline: int
    difference: Interval | None
    version_units: int
    baseline_units: int
    detected_at: int
    verdict: Literal["regressed", "not regressed", "too few units"]


def slope(times: Floats, values: Floats, *, weights: Floats, level: float = LEVEL) -> Interval:
    """Return the change of `values` per unit of `times`, by least squares with `weights` (a period's n).

    The interval comes from the scatter around the line, so it also covers days that differ by more than their
    size explains. Raises `TooFew` with fewer than three periods that count, or only one time.
    """
    counted = weights > 0
    t, y, w = times[counted], values[counted], weights[counted]
    if len(t) < 3 or np.ptp(t) == 0:
        raise TooFew(f"found {len(t)} periods with data; a trend needs at least 3")
    # Centred on the weighted means, the slope needs no intercept, and large timestamps do not cancel.
    t, y = t - np.average(t, weights=w), y - np.average(y, weights=w)
    spread = float(np.dot(w, t * t))
    found = float(np.dot(w, t * y)) / spread
    left = y - found * t
    # From the residuals, not from each period's size: days differ by more than their size explains.
    error = math.sqrt(float(np.dot(w, left * left)) / (len(t) - 2) / spread)
    half = student_quantile(level, len(t) - 2) * error
    return Interval(
        estimate=found, low=found - half, high=found + half, n=float(w.sum()), level=level
    )


def changes(
    values: Floats,
    *,
    weights: Floats,
    rng: np.random.Generator,
    alpha: float = 0.05,
    least: int = 3,
    permutations: int = 999,
) -> tuple[Change, ...]:
    """Return where the mean of a series changed, in order, by binary segmentation.

    The best split of a segment is kept when its p value is at most `alpha` and both sides hold `least`
    periods; then each side is looked at again. `weights` is each period's n; periods without data do not
    count. The test shuffles periods, so it takes them as exchangeable while nothing changes: give weeks, not
    days, where weekdays differ. Raises `Invalid` unless `alpha` can be reached with so many permutations.
    """
    if not 1 / (permutations + 1) <= alpha < 1 or least < 1:
        raise Invalid(
            f"found alpha {alpha} with {permutations} permutations and least {least}; "
            "expected least from 1 and alpha from 1 / (permutations + 1)"
        )
    rows = np.flatnonzero(weights > 0)
    found: list[Change] = []
    # A list in place of recursion: the depth is the number of changes, which the data decide.
    waiting = [(0, len(rows))]
    while waiting:
        start, end = waiting.pop()
        here = rows[start:end]
        change = _best_split(
            values[here], weights[here], rng=rng, least=least, permutations=permutations
        )
        if change is None or change.p > alpha:
            continue
        middle = start + change.at
        found.append(msgspec.structs.replace(change, at=int(rows[middle])))
        waiting += [(start, middle), (middle, end)]
    return tuple(sorted(found, key=lambda change: change.at))


def regressions(
    versions: Codes,
    units: Codes,
    values: Floats,
    *,
    baseline: int,
    alpha: float = 0.05,
    margin: float = 0.0,
    horizon: int = 5000,
    least_units: int = 50,
    higher_is_better: bool = True,
) -> tuple[Comparison, ...]:
    """Return every other version compared with `baseline`, as of the last row.

    Rows come in order of time; a unit counts once per version, with the mean of its rows so far. Only rows
    from the version's first one on are used, so that a change of the times is not blamed on the version.
    A version is called regressed when it is worse by more than `margin`, wrongly so with probability `alpha`
    over all looks and all versions together. The test is sharpest around `horizon` units. Raises `Invalid`
    when the columns differ in length.
    """
    if not len(versions) == len(units) == len(values):
        raise Invalid(
            f"found {len(versions)} versions, {len(units)} units and {len(values)} values; give one per row"
        )
    others = [int(version) for version in np.unique(versions) if version != baseline]
    sign = 1.0 if higher_is_better else -1.0
    # Bonferroni: the promise holds for all versions together.
    each, made = alpha / max(len(others), 1), []
    for version in others:
        # The first row of this version: what came before was another time, and other users.
        first = int(np.argmax(versions == version))
        rows = first + np.flatnonzero(np.isin(versions[first:], (version, baseline)))
        sides = (versions[rows] == version).astype(np.int64)
        found = _Race(sides, units[rows], sign * values[rows], least_units=least_units)
        found.run(alpha=each, horizon=horizon)
        made.append(
            found.comparison(
                rows, version=version, baseline=baseline, sign=sign, margin=margin, alpha=each
            )
        )
    return tuple(made)


def running_half_width(variances: Floats, sizes: Floats, *, alpha: float, horizon: int) -> Floats:
    """Return the half width of the one-sided asymptotic confidence sequence of a mean, at each size.

    `variances` are of one observation, `sizes` how many there are. It is narrowest around `horizon`.
    """
    # One-sided at alpha is two-sided at 2 · alpha; the cap keeps the logarithm below 0.
    log_a = math.log(min(2 * alpha, 0.999))
    # ρ² of the normal mixture, chosen so that the sequence is narrowest near `horizon` (Waudby-Smith et al.).
    rate = (-2 * log_a + math.log(1 - 2 * log_a)) / horizon
    grown = sizes * rate + 1
    # The asymptotic confidence sequence in its one-sided form: only a fall is a regression.
    widths: Floats = np.sqrt(
        variances * 2 * grown / (sizes**2 * rate) * np.log1p(np.sqrt(grown) / (2 * alpha))
    )
    return widths


class _Race:
    """Two versions over time: side 0 is the baseline, side 1 the other; larger values are better."""

    def __init__(self, sides: Codes, units: Codes, values: Floats, *, least_units: int) -> None:
        self._least_units = least_units
        # Sums of squares around a middle that is fixed beforehand do not cancel.
        centred = values - (values[0] if len(values) else 0.0)
        before, after, is_first = _unit_means(sides, units, centred)
        self.counts, self._means, self._variances = [], [], []
        for side in (0, 1):
            here = sides == side
            count = np.cumsum(here & is_first)
            n = np.maximum(count, 1)
            # A unit counts once, so a row replaces its unit's mean so far: the change is added, for all rows in one pass.
            average = np.cumsum(np.where(here, after - before, 0.0)) / n
            squares = np.cumsum(np.where(here, after**2 - before**2, 0.0))
            self.counts.append(count)
            self._means.append(average)
            self._variances.append(
                # Rounding may carry a variance of 0 below it.
                np.maximum(squares / n - average**2, 0.0) * n / np.maximum(n - 1, 1)
            )

    def run(self, *, alpha: float, horizon: int) -> None:
        """Work out the difference and its half width after every row."""
        sizes = np.maximum(self.counts[0] + self.counts[1], 1).astype(np.float64)
        error = sum(
            variance / np.maximum(count, 1)
            for variance, count in zip(self._variances, self.counts, strict=True)
        )
        self.apart = self._means[1] - self._means[0]
        # The variance is scaled so that the difference of two means reads as one mean over all units.
        self.half = running_half_width(sizes * error, sizes, alpha=alpha, horizon=horizon)
        self.is_ready = np.minimum(self.counts[0], self.counts[1]) >= self._least_units

    def comparison(
        self,
        rows: Codes,
        *,
        version: int,
        baseline: int,
        sign: float,
        margin: float,
        alpha: float,
    ) -> Comparison:
        """Return the verdict as of the last row."""
        # Any row may decide, since the bound holds at all of them at once.
        crossed = np.flatnonzero(self.is_ready & (self.apart + self.half < -margin))
        units = [int(count[-1]) for count in self.counts]
        difference, verdict = None, _verdict(bool(self.is_ready[-1]), len(crossed) > 0)
        if self.is_ready[-1]:
            apart, half = sign * float(self.apart[-1]), float(self.half[-1])
            difference = Interval(
                estimate=apart,
                low=apart - half,
                high=apart + half,
                n=float(sum(units)),
                level=1 - 2 * alpha,
            )
        return Comparison(
            version=version,
            baseline=baseline,
            difference=difference,
            version_units=units[1],
            baseline_units=units[0],
            detected_at=int(rows[crossed[0]]) if len(crossed) else NONE,
            verdict=verdict,
        )


def _verdict(
    is_ready: bool, has_crossed: bool
) -> Literal["regressed", "not regressed", "too few units"]:
    if not is_ready:
        return "too few units"
    return "regressed" if has_crossed else "not regressed"


def _unit_means(sides: Codes, units: Codes, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return, for each row, its unit's mean before and after it, and whether the unit is new (per side)."""
    group = units * 2 + sides
    order = np.argsort(group, kind="stable")
    found = group[order]
    starts = np.flatnonzero(np.diff(found, prepend=found[:1] - 1))
    lengths = np.diff(np.append(starts, len(found)))
    rank = np.arange(len(found)) - np.repeat(starts, lengths)
    # Sums within groups without a loop: the running sum, less its value before the group.
    running = np.cumsum(values[order])
    base = np.repeat(running[starts] - values[order][starts], lengths)
    means = (running - base) / (rank + 1)
    previous = np.where(rank > 0, np.roll(means, 1), 0.0)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return previous[back], means[back], (rank == 0)[back]


def _best_split(
    values: Floats, weights: Floats, *, rng: np.random.Generator, least: int, permutations: int
) -> Change | None:
    """Return the split that parts the series best, or None when it is too short to be split."""
    count = len(values)
    if count < 2 * least:
        return None
    # Whole periods move, with their weights: a small period is noisy wherever it stands.
    shuffled = rng.permuted(np.tile(np.arange(count), (permutations, 1)), axis=1)
    rows = np.vstack((np.arange(count), shuffled))
    gains = _gains(values - np.average(values, weights=weights), weights, rows)[
        :, least - 1 : count - least
    ]
    best = gains.max(axis=1)
    at = int(np.argmax(gains[0])) + least
    # A hair of tolerance: equal series in another order must tie, not lose by rounding.
    as_good = int(np.count_nonzero(best[1:] >= best[0] * (1 - 1e-9)))
    return Change(
        at=at,
        before=float(np.average(values[:at], weights=weights[:at])),
        after=float(np.average(values[at:], weights=weights[at:])),
        # The series itself is one of the orderings, so p is never 0 (Phipson and Smyth).
        p=(1 + as_good) / (1 + permutations),
    )


def _gains(centred: Floats, weights: Floats, rows: Codes) -> Floats:
    """Return the sum of squares that a split after each place explains, for each ordering in `rows`."""
    left = np.cumsum(weights[rows], axis=1)[:, :-1]
    moved = np.cumsum((weights * centred)[rows], axis=1)[:, :-1]
    # With centred values, the sum of squares between two parts is S² (1 ÷ left + 1 ÷ right).
    gains: Floats = moved**2 * (1 / left + 1 / (weights.sum() - left))
    return gains
