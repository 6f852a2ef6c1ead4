"""Finding the version that made ratings worse, or better, before the average moves.

A version is compared with the one that served beside it, person by person, with intervals that hold at every
moment: the report may be opened any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.stats.intervals import Codes, Floats, Interval
from loopwright.stats.trend import NONE, Comparison, regressions

ALPHA: Final = 0.05
"""Chance of one wrong verdict over all versions of a dimension, in either direction."""

LEAST_UNITS: Final = 50

Verdict = Literal["regressed", "improved", "no difference shown", "too few people"]


class VersionValues(msgspec.Struct, frozen=True):
    """Ratings in order of time as columns: version, unit, time, and value on [0, 1]."""

    versions: Sequence[str]
    units: Sequence[str]
    times_ms: Sequence[int]
    values: Sequence[float]


class VersionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A version compared with the baseline that served beside it."""

    dimension: str
    version: str
    baseline: str
    verdict: Verdict
    difference: Interval | None
    """Version - baseline, in mean rating on [0, 1]; None below the least number of people."""
    people: int
    baseline_people: int
    detected_at_ms: int | None
    """When the verdict was first certain."""
    average_before: float | None
    """Mean rating of all versions before this one came; None when it was there from the start, or nearly so."""
    average_since: float
    """Mean rating of all versions since this one came."""


def version_changes(
    dimension: str, found: VersionValues, *, least_units: int = LEAST_UNITS
) -> tuple[VersionChange, ...]:
    """Return each version but the first compared with an earlier one, worst first.

    The earlier one is that with most facts since the version came, so that both saw the same times.
    """
    names = list(dict.fromkeys(found.versions))
    if len(names) < 2:
        return ()
    place = {name: code for code, name in enumerate(names)}
    people = {unit: code for code, unit in enumerate(dict.fromkeys(found.units))}
    versions = np.array([place[version] for version in found.versions], dtype=np.int64)
    units = np.array([people[unit] for unit in found.units], dtype=np.int64)
    values = np.asarray(found.values, dtype=np.float64)
    # Two directions for each of the other versions share the chance of a wrong verdict.
    alpha = ALPHA / (2 * (len(names) - 1))
    made = []
    for version in range(1, len(names)):
        # `argmax` of booleans is the first True.
        first = int(np.argmax(versions == version))
        # Only facts since the version came: compared with other days, it would be blamed for what the days did.
        earlier = np.bincount(versions[first:], minlength=len(names))[:version]
        baseline = int(np.argmax(earlier))
        pair = np.flatnonzero((versions == version) | (versions == baseline))
        worse, better = (
            _compared(
                versions[pair],
                units[pair],
                values[pair],
                baseline=baseline,
                alpha=alpha,
                least_units=least_units,
                higher_is_better=is_higher,
            )
            # The sequential test is one-sided, so each direction is one test.
            for is_higher in (True, False)
        )
        verdict, detected = _verdict(worse, better)
        before = values[:first]
        made.append(
            VersionChange(
                dimension=dimension,
                version=names[version],
                baseline=names[baseline],
                verdict=verdict,
                difference=worse.difference,
                people=worse.version_units,
                baseline_people=worse.baseline_units,
                detected_at_ms=None if detected == NONE else int(found.times_ms[pair[detected]]),
                # A mean of fewer would be read as a level that never was.
                average_before=float(before.mean()) if len(before) >= LEAST_UNITS else None,
                average_since=float(values[first:].mean()),
            )
        )
    order = ("regressed", "improved", "no difference shown", "too few people")
    return tuple(sorted(made, key=lambda change: (order.index(change.verdict), change.version)))


def _compared(
    versions: Codes,
    units: Codes,
    values: Floats,
    *,
    baseline: int,
    alpha: float,
    least_units: int,
    higher_is_better: bool,
) -> Comparison:
    (compared,) = regressions(
        versions,
        units,
        values,
        baseline=baseline,
        alpha=alpha,
        least_units=least_units,
        higher_is_better=higher_is_better,
    )
    return compared


def _verdict(worse: Comparison, better: Comparison) -> tuple[Verdict, int]:
    if worse.verdict == "too few units":
        return "too few people", NONE
    if worse.verdict == "regressed":
        return "regressed", worse.detected_at
    if better.verdict == "regressed":
        return "improved", better.detected_at
    return "no difference shown", NONE
