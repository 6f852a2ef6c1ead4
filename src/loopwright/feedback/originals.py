"""The items of a body that need a raw copy: those that redaction changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopwright.people import Person
from loopwright.people.raw import Original

from .draft import Draft
from .prepared import Understood
from .stages.facts import Keyed


def originals(
    understood: Understood,
    *,
    drafts: Sequence[tuple[int, Draft]],
    made: Sequence[Keyed],
    persons: Mapping[str, Person],
) -> list[Original]:
    """Return the items that redaction changed; `drafts` have their places, `made` the facts of each draft."""
    found: list[Original] = []
    n = 0
    for (place, draft), facts in zip(drafts, made, strict=True):
        if draft.note.redactions:
            user, reviewer = draft.user_id, draft.reviewer_id
            found.append(
                Original(
                    first=n,
                    event_id=facts[0][0].event_id,
                    path=understood.path,
                    person="" if user is None else persons[user].id,
                    reviewer="" if reviewer is None else persons[reviewer].id,
                    received_ms=understood.received_ms,
                    item=understood.items[place],
                )
            )
        n += len(facts)
    return found
