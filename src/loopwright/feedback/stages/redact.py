"""The third stage: take personal data out of declared free text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from loopwright.core.feedback import Annotation, Correction
from loopwright.core.text import Redacted, Redactor
from loopwright.feedback.draft import FREE_TEXT, Draft

_KINDS_WITH_TEXTS: Final = frozenset({Correction, Annotation})

Changes = dict[str, Any]
"""New values of members of a draft's note. `classify`, the last stage on texts, applies them, so that the note is
copied once."""

WithTexts = Sequence[tuple[Draft, Changes]]
"""The drafts that hold free text, each with its changes: the only ones that the stages on texts look at."""


def with_texts(drafts: Sequence[Draft]) -> WithTexts:
    """Return the drafts that hold free text, each with no changes yet."""
    found: list[tuple[Draft, Changes]] = []
    for draft in drafts:
        note = draft.note
        if (
            note.message
            or note.query
            or note.response
            or draft.is_free
            or type(draft.feedback) in _KINDS_WITH_TEXTS
            or draft.interaction is not None
        ):
            found.append((draft, {}))
    return found


def redact(drafts: WithTexts, *, redactor: Redactor, key: bytes) -> int:
    """Take personal data out of declared free text; ids, labels and other keys are left alone.

    Return from how many drafts anything was taken out.
    """
    clean = redactor.redact
    return sum([_redact(draft, changes, clean, key) for draft, changes in drafts])


def _redact(draft: Draft, changes: Changes, redact: Redact, key: bytes, /) -> bool:
    note, feedback = draft.note, draft.feedback
    interaction, step = draft.interaction, draft.step
    counts: dict[str, int] = {}
    clean = partial(_clean, redact, key, counts)
    if note.message:
        changes["message"] = clean(note.message)
    if note.query:
        changes["query"] = clean(note.query)
    if note.response:
        changes["response"] = clean(note.response)
    if type(feedback) is Correction or type(feedback) is Annotation:
        feedback = _clean_feedback(feedback, clean)
    wire = _clean_tree(note.wire, clean) if draft.is_free else note.wire
    if interaction is not None and (interaction.query or interaction.response):
        interaction = replace(
            interaction,
            query=interaction.query and clean(interaction.query),
            response=interaction.response and clean(interaction.response),
        )
    if step is not None and step.data:
        step = replace(step, data=_clean_tree(step.data, clean))
    also = tuple(replace(a, text=clean(a.text)) if a.text else a for a in draft.also)
    # Nothing was found, so every text is what it was: the draft needs no copies.
    if not counts:
        changes.clear()
        return False
    if interaction is not None:
        interaction = replace(interaction, redactions=_added(interaction.redactions, counts))
    draft.feedback, draft.interaction, draft.step = feedback, interaction, step
    draft.also = also
    changes["redactions"] = counts
    changes["wire"] = wire
    return True


Redact = Callable[[str, bytes], Redacted]


def _clean(redact: Redact, key: bytes, counts: dict[str, int], text: str, /) -> str:
    found = redact(text, key)
    if not found.counts:
        return text
    for kind, count in found.counts.items():
        counts[kind] = counts.get(kind, 0) + count
    return found.text


def _clean_feedback(
    feedback: Correction | Annotation, clean: Callable[[str], str]
) -> Correction | Annotation:
    if type(feedback) is Annotation:
        if not feedback.rationale:
            return feedback
        return replace(feedback, rationale=clean(feedback.rationale))
    assert type(feedback) is Correction
    return Correction(
        clean(feedback.before),
        clean(feedback.after),
        clean(feedback.explanation) if feedback.explanation else "",
        feedback.distance,
    )


def _clean_tree(value: Any, clean: Callable[[str], str], name: str = "") -> Any:
    if isinstance(value, str):
        return clean(value) if name in FREE_TEXT and value else value
    if isinstance(value, dict):
        return {
            # Once free text, always: a name below it says nothing about what people wrote there.
            inner: _clean_tree(v, clean, name if name in FREE_TEXT else inner)
            for inner, v in value.items()
        }
    if isinstance(value, list):
        return [_clean_tree(v, clean, name) for v in value]
    return value


def _added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {kind: a.get(kind, 0) + b.get(kind, 0) for kind in {**a, **b}}
