"""Satisfaction by the values of a dimension, such as prompt, model, category or device."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loopwright.stats.intervals import Interval, wilson


class SegmentTally(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of feedback for one value of a dimension; None is for facts that name no value."""

    segment: str | None
    facts: int = 0
    ratings: int = 0
    positive: int = 0
    satisfaction: float | None = None
    average_stars: float | None = None
    thumbs_up: int = 0
    thumbs_down: int = 0
    corrections: int = 0
    outcomes: int = 0
    outcome_value: float | None = None
    people: int = 0


class SegmentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a dimension; `positive_rate` is the share of positive ratings."""

    segment: str | None
    facts: int
    ratings: int
    positive_rate: Interval | None
    average_rating: float | None
    """Mean on [0, 1]."""
    average_stars: float | None
    thumbs_up: int
    thumbs_down: int
    corrections: int
    outcomes: int
    outcome_value: float | None
    people: int


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfaction by a dimension, commonest values first; `left_out` counts those not listed."""

    dimension: str
    segments: tuple[SegmentLine, ...]
    left_out: int


def breakdown(
    dimension: str, tallies: Sequence[SegmentTally], *, design: float = 1.0, most: int = 20
) -> Breakdown:
    """Return the segments of a dimension; intervals count `design` events as one independent observation."""
    # Ties by name, so that equal facts make equal reports in every engine.
    ranked = sorted(tallies, key=lambda tally: (-tally.facts, tally.segment or ""))
    return Breakdown(
        dimension=dimension,
        segments=tuple(_segment(tally, design) for tally in ranked[:most]),
        left_out=max(len(ranked) - most, 0),
    )


def _segment(tally: SegmentTally, design: float) -> SegmentLine:
    rate = None
    if tally.ratings:
        # Wilson's interval at the effective size (Kish 1965); it takes sizes that are no whole numbers.
        n = max(tally.ratings / design, 1.0)
        rate = wilson(tally.positive / tally.ratings * n, n)
    return SegmentLine(
        segment=tally.segment,
        facts=tally.facts,
        ratings=tally.ratings,
        positive_rate=rate,
        average_rating=tally.satisfaction,
        average_stars=tally.average_stars,
        thumbs_up=tally.thumbs_up,
        thumbs_down=tally.thumbs_down,
        corrections=tally.corrections,
        outcomes=tally.outcomes,
        outcome_value=tally.outcome_value,
        people=tally.people,
    )
