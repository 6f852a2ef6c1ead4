"""The commonest failures in people's own words: phrases, groups of alike texts, corrected queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from loopwright.stats.patterns import CorrectedQuery, clusters, failures, most_corrected

SHOWN_CHARACTERS: Final = 240

_MOST_CLUSTERS: Final = 10


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A text that came with a verdict."""

    event_id: str
    text: str
    is_negative: bool
    category: str | None = None
    person: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and whether its answer was corrected."""

    query: str
    is_corrected: bool
    person: str | None = None


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A phrase that marks negative feedback, with its weight on either side and examples, cut short."""

    phrase: str
    z: float
    """How sure: standard errors by which it is commoner among negative texts."""
    log_odds: float
    negative: float
    positive: float
    examples: tuple[str, ...]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Alike negative texts: how many, the words they share, the most typical one."""

    texts: int
    weight: float
    words: tuple[str, ...]
    example: str


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """The phrases and groups that negative texts share, over the newest texts of the period."""

    negative: int
    positive: int
    patterns: tuple[Pattern, ...]
    groups: tuple[Group, ...]


def failure_patterns(
    texts: Sequence[Text], *, weights: Mapping[str, float] | None = None, top: int = 15
) -> Failures:
    """Return the phrases and groups that mark the negative `texts`; each counts by its trust weight, 1 by default."""
    known = weights or {}
    bad = [text for text in texts if text.is_negative]
    good = [text for text in texts if not text.is_negative]
    bad_texts, bad_weights = [t.text for t in bad], [known.get(t.event_id, 1.0) for t in bad]
    # Both sides by trust: copies that one bot sent must neither make a phrase nor hide one.
    found = failures(
        bad_texts,
        [t.text for t in good],
        negative_weights=bad_weights,
        positive_weights=[known.get(t.event_id, 1.0) for t in good],
        top=top,
    )
    # Grouping over negative texts alone: with praise among them, the largest groups would be about nothing
    # wrong.
    alike = clusters(bad_texts, weights=bad_weights)
    return Failures(
        negative=len(bad),
        positive=len(good),
        patterns=tuple(
            Pattern(
                phrase=phrase.phrase,
                z=phrase.z,
                log_odds=phrase.log_odds,
                negative=phrase.negative,
                positive=phrase.positive,
                examples=tuple(shown(bad_texts[row]) for row in phrase.examples),
            )
            for phrase in found
        ),
        groups=tuple(
            Group(
                texts=len(cluster.members),
                weight=cluster.weight,
                words=cluster.words,
                example=shown(bad_texts[cluster.example]),
            )
            for cluster in alike[:_MOST_CLUSTERS]
        ),
    )


def corrected_queries(asked: Sequence[Asked], *, top: int = 10) -> tuple[CorrectedQuery, ...]:
    """Return the queries that most people corrected, cut short."""
    found = most_corrected(
        [row.query for row in asked],
        [row.is_corrected for row in asked],
        users=[row.person for row in asked],
        top=top,
    )
    return tuple(msgspec.structs.replace(row, query=shown(row.query)) for row in found)


def shown(text: str) -> str:
    """Return `text` on one line, cut to `SHOWN_CHARACTERS`."""
    # Cut before it is split, so that a text of a megabyte costs no more than a short one; white space folds
    # into one.
    line = " ".join(text[: 4 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
