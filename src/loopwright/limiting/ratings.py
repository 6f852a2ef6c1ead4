"""What the ratings of one window say: one number, robust against few voices and loud ones."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

LEAST_TRUST: Final = 0.2
FLOOD: Final = 5
"""Times the usual number of ratings that count as a flood."""
LOUD: Final = 0.3
"""Share of a window's ratings that one identity may give."""
ENOUGH: Final = 20
"""Ratings below which neither flood nor loudness can be told from chance."""
USUAL: Final = 5
"""Windows that must be known before their number is called usual."""
TAIL: Final = 0.1


class Rating(msgspec.Struct, frozen=True):
    """One rating from 1 to 5 by an identity, with the trust in it."""

    who: str
    value: float
    trust: float = 1.0


def normal(value: float) -> float | None:
    """Return a rating as a reward from 0 to 1, or None for one that is no rating from 1 to 5."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 5:
        return None
    return (value - 1) / 4


def reward(ratings: Sequence[Rating], baseline: float | None, shrink: float) -> float | None:
    """Return the mean reward of a window, or None without one.

    Each identity counts once, by the mean of its ratings and its trust. The extremes are winsorised, and `shrink`
    pseudo-ratings of `baseline` keep few voices from moving much. The order of the ratings makes no difference.
    """
    voices = _voices(ratings)
    if not voices:
        return None
    values = sorted(value for value, _ in voices)
    cut = math.floor(TAIL * len(values))
    low, high = values[cut], values[-1 - cut]
    # `fsum` rounds once, so a replay that reads the ratings in another order gives the same bits.
    weight = math.fsum(trust for _, trust in voices)
    total = math.fsum(trust * min(max(value, low), high) for value, trust in voices)
    if baseline is None:
        return total / weight
    return (total + shrink * baseline) / (weight + shrink)


def is_suspicious(ratings: Sequence[Rating], counts: Sequence[int]) -> bool:
    """Say whether there are far more ratings than usual, or one identity gives a large part of them."""
    if len(ratings) < ENOUGH:
        return False
    by_who: dict[str, int] = defaultdict(int)
    for rating in ratings:
        by_who[rating.who] += 1
    is_flood = len(counts) >= USUAL and len(ratings) > FLOOD * max(median(counts), 1)
    return is_flood or max(by_who.values()) > LOUD * len(ratings)


def _voices(ratings: Sequence[Rating]) -> list[tuple[float, float]]:
    given: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for rating in ratings:
        value = normal(rating.value)
        if value is not None and not math.isnan(rating.trust):
            given[rating.who].append((value, min(max(rating.trust, LEAST_TRUST), 1.0)))
    return [
        (math.fsum(value for value, _ in said) / len(said), min(trust for _, trust in said))
        for said in given.values()
    ]
