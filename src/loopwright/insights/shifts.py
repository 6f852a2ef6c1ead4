"""Drift against the period before: shares of categories, numbers of calls, the stream of ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from loopwright.stats.drift import Psi, adwin, psi, psi_counts

MOST_DRAWN: Final = 2_000
"""Longest stream that ADWIN reads; a longer one is averaged in runs first."""

_MOVED: Final = 3


class BinShare(msgspec.Struct, frozen=True):
    """A value or range, with its share before and now."""

    name: str
    before: float
    now: float


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far a distribution moved since the period before, and its bins that moved most.

    `noise` is what `psi` reaches in one of twenty comparisons without any drift.
    """

    of: str
    psi: float
    noise: float
    verdict: Literal["stable", "slight", "large", "too few"]
    before: int
    now: int
    moved: tuple[BinShare, ...]


class Drifts(msgspec.Struct, frozen=True, kw_only=True):
    """Drift against the period before, and moments at which the stream of ratings changed."""

    since_ms: int
    items: tuple[Drift, ...]
    rating_changes_ms: tuple[int, ...]


def drift_of_shares(
    name: str,
    before: Mapping[str | None, int],
    now: Mapping[str | None, int],
    *,
    rng: np.random.Generator,
) -> Drift:
    """Return how far the shares of a dimension's values moved."""
    return _drift(name, psi_counts(before, now, rng=rng))


def drift_of_numbers(
    name: str, before: Sequence[float], now: Sequence[float], *, rng: np.random.Generator
) -> Drift:
    """Return how far the distribution of a number moved."""
    return _drift(
        name, psi(np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64), rng=rng)
    )


def rating_changes(times_ms: Sequence[int], values: Sequence[float]) -> tuple[int, ...]:
    """Return the moments at which ADWIN found the mean of a stream on [0, 1] changed.

    A long stream is averaged in runs first, which keeps its order and its mean.
    """
    run = -(-len(values) // MOST_DRAWN) or 1
    # An incomplete last run is left out: the mean of fewer values scatters more and looks like a change.
    whole = len(values) // run * run
    means = np.asarray(values[:whole], dtype=np.float64).reshape(-1, run).mean(axis=1)
    return tuple(int(times_ms[at * run]) for at in adwin(means.tolist()))


def _drift(name: str, found: Psi) -> Drift:
    # By size of the move in either direction: a share that fell says as much as one that rose.
    moved = sorted(found.bins, key=lambda bin: -abs(bin[2] - bin[1]))[:_MOVED]
    return Drift(
        of=name,
        psi=found.value,
        noise=found.noise,
        verdict=found.verdict,
        before=found.reference_n,
        now=found.current_n,
        moved=tuple(BinShare(*bin) for bin in moved),
    )
