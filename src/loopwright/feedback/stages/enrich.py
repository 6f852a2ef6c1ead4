"""The fourth stage: put pseudonyms in place of people and addresses, measure corrections, flag contradictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.feedback import Annotation, Correction, Rating, Target
from loopwright.feedback.draft import Draft
from loopwright.people import Person
from loopwright.texts.distance import edit_distance

from .identify import reference

AHEAD_MS: Final = 300_000
"""How far a sender's clock may be ahead of ours before the fact is flagged."""


class Recall(Protocol):
    """Recent history: the votes of people and the times of sessions."""

    def contradicts(self, tenant_id: str, person: str, *, about: Any, is_up: bool) -> bool:
        """Say whether the person's vote before was the opposite, and remember this one."""
        ...

    def is_behind(self, tenant_id: str, session_id: str, at_ms: int) -> bool:
        """Say whether the session has a later fact than one at `at_ms`, and remember this time."""
        ...


def enrich(
    drafts: Sequence[Draft],
    persons: Mapping[str, Person],
    *,
    tenant_id: str,
    received_ms: int,
    hide_address: Callable[[str], str],
    recall: Recall,
) -> int:
    """Put pseudonyms in place of people and addresses, measure corrections, and flag oddities.

    Return how many drafts this changed.
    """
    changed = 0
    for draft in drafts:
        feedback, note = draft.feedback, draft.note
        user, address = draft.user_id, draft.address
        # Without a time of the sender there is only ours, which is never untimely.
        flags = _untimely(draft, tenant_id, received_ms, recall) if draft.is_dated else ()
        person = None
        if user is not None:
            person = persons[user].id
            if type(feedback) is Rating:
                flags += _contradicting(draft.target, feedback, tenant_id, person, recall)
            elif draft.interaction is not None:
                draft.interaction = replace(draft.interaction, person=person)
            elif draft.step is not None:
                draft.step = replace(draft.step, person=person)
        if address is not None:
            address = hide_address(address)
        is_changed = person is not None or address is not None or bool(flags)
        if is_changed:
            draft.note = replace(note, person=person, address=address, flags=note.flags + flags)
        if type(feedback) is Correction:
            if feedback.distance is None:
                draft.feedback = _measured(feedback)
                is_changed = True
        elif type(feedback) is Annotation:
            judge = draft.reviewer_id
            reviewer = person or "" if judge is None else persons[judge].id
            draft.feedback = replace(feedback, reviewer=reviewer)
            is_changed = True
        changed += is_changed
    return changed


def _untimely(draft: Draft, tenant_id: str, received_ms: int, recall: Recall, /) -> Flags:
    at_ms, decision = draft.note.occurred_at_ms, draft.target.decision
    flags: Flags = ()
    if at_ms > received_ms + AHEAD_MS:
        flags += ("clock_ahead",)
    if decision is not None and at_ms < decision.decided_at_ms:
        flags += ("before_decision",)
    session_id = draft.target.session_id
    if session_id is not None and recall.is_behind(tenant_id, session_id, at_ms):
        flags += ("out_of_order",)
    return flags


def _contradicting(
    target: Target, rating: Rating, tenant_id: str, person: str, recall: Recall, /
) -> Flags:
    satisfaction = rating.satisfaction
    # The middle of a scale takes no side, and must not be remembered as a vote.
    if satisfaction != 0.5 and recall.contradicts(
        tenant_id, person, about=reference(target), is_up=satisfaction > 0.5
    ):
        return ("contradiction",)
    return ()


Flags = tuple[str, ...]


def _measured(correction: Correction) -> Correction:
    try:
        distance = edit_distance(correction.before, correction.after)
    except Invalid:  # too long to be compared; the texts are kept all the same
        return correction
    return replace(correction, distance=distance)
