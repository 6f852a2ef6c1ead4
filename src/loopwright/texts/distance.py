"""How far two texts are apart: what a person changed, and how alike two questions are."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Final

from rapidfuzz.distance import Levenshtein

from loopwright.core.errors import Invalid

# The distance takes time in proportion to the product of both lengths, so these are bounded.
MAX_UNITS: Final = 20_000
"""Longest sequence that is compared, after what both share at the ends is taken off."""


def edit_distance(before: str, after: str) -> float:
    """Return how much of a text was changed, from 0 (nothing) to 1 (everything), by characters.

    Raises `Invalid` when more than 20,000 characters differ in either text.
    """
    longer = max(len(before), len(after))
    return _between(before, after) / longer if longer else 0.0


def edits_to_accept(versions: Sequence[str]) -> int:
    """Return how many words a person changed from the proposal to what they accepted.

    `versions` holds the proposal, every version saved on the way and the accepted text, in order; the changes
    of each step add up, so going back and forth counts. Raises `Invalid` without any version.
    """
    if not versions:
        raise Invalid("edits_to_accept got no version; give at least the proposal")
    words = [version.split() for version in versions]
    return sum(_between(before, after) for before, after in itertools.pairwise(words))


def _between(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the Levenshtein distance of two sequences."""
    # Most edits of a long text touch one place: what both share at the ends changes no distance.
    if max(len(a), len(b)) > MAX_UNITS:
        a, b = _differing(a, b)
        if max(len(a), len(b)) > MAX_UNITS:
            raise Invalid(
                f"the texts differ in {max(len(a), len(b)):,} units; at most {MAX_UNITS:,} are compared",
                limit=MAX_UNITS,
            )
    return Levenshtein.distance(a, b)


def _differing(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Return what is left of two sequences without their common beginning and end."""
    start, limit = 0, min(len(a), len(b))
    while start < limit and a[start] == b[start]:
        start += 1
    end = 0
    # Never into the common beginning: in "aa" against "aaa" the same letters would be taken off twice.
    while end < limit - start and a[-1 - end] == b[-1 - end]:
        end += 1
    return a[start : len(a) - end], b[start : len(b) - end]


def likeness(a: str, b: str) -> float:
    """Return 1 less the share of words that differ between two queries; case does not matter."""
    ours, theirs = a.casefold().split(), b.casefold().split()
    longer = max(len(ours), len(theirs))
    return 1.0 - _between(ours, theirs) / longer if longer else 1.0
