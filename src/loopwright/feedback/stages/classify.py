"""The fifth stage: the category and the sentiment of comments."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from loopwright.core.feedback import Correction
from loopwright.core.text import Classifier, Scores

from .redact import Changes, WithTexts

LEAST_SHARE: Final = 0.35
"""Least probability at which a category is noted; rules without a match stay well below."""


def classify(drafts: WithTexts, *, categories: Classifier, sentiments: Classifier) -> int:
    """Add the category of each comment, unless the sender gave one, and its sentiment; return how many there were.

    It is the last stage on texts, so it applies their changes to the notes.
    """
    commented = 0
    for draft, changes in drafts:
        note = draft.note
        text = changes.get("message", note.message)
        # The explanation is the person's comment; the texts before and after are the product's.
        if not text and type(draft.feedback) is Correction:
            text = draft.feedback.explanation
        if text:
            commented += 1
            changes["sentiment"] = sentiments.classify(text).mood
            # What the sender said goes before what rules guess.
            if note.category is None:
                _categorise(categories.classify(text), changes)
        if changes:
            draft.note = replace(note, **changes)
    return commented


def _categorise(scores: Scores, changes: Changes) -> None:
    label = scores.label
    if scores.probabilities[label] >= LEAST_SHARE:
        changes["category"] = label
        changes["category_by"] = "rules" if scores.version.startswith("rules-") else "model"
