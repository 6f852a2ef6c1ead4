"""A correction: the text as it was, as it should have been, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact
from loopwright.core.feedback import Correction, Note, Target
from loopwright.feedback.draft import Draft, Verify, decision_of
from loopwright.feedback.members import Members
from loopwright.feedback.times import read_timestamp, time_as_sent

from .fields import REFERENCES, SPELLINGS
from .shape import MIXED, Shape, report_of


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read a correction: `original`, `corrected`, and why; raises `Invalid`."""
    members = Members(item)
    spelling = next(
        (pair for pair in SPELLINGS if not members.left.keys().isdisjoint(pair)), SPELLINGS[0]
    )
    before, after = (members.free(name) for name in spelling)
    if before is None or after is None:
        raise Invalid(f"{spelling[0]} and {spelling[1]} belong to a correction; send both texts")
    at_ms, wire, flags, is_dated = read_timestamp(members, received_ms)
    refer = [members.text(name) for name in REFERENCES]
    event_id, user_id = members.text("event_id", limit=128), members.text("user_id")
    decision = decision_of(verify, members.text("request_id", limit=16_384))
    explanation, query = members.free("explanation"), members.free("query")
    category, tenant = members.text("category", limit=128), members.text("tenant_id")
    if spelling != SPELLINGS[0]:
        wire["spelling"] = SPELLINGS.index(spelling)
    if tenant is not None:
        wire["tenant"] = tenant
    if members.left:
        wire["extra"] = members.left
    return Draft(
        event_id=event_id,
        tenant_id=tenant,
        user_id=user_id,
        is_dated=is_dated,
        target=Target(decision, None if decision else refer[0], *refer[1:]),
        feedback=Correction(before, after, explanation or ""),
        note=Note(
            occurred_at_ms=at_ms,
            session_id=refer[3],
            category=category,
            query=query,
            flags=flags,
            shape="correction",
            wire=wire,
        ),
        is_free=bool(members.left),
    )


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return a correction as it was sent, with pseudonyms and redacted texts."""
    fact = report_of(facts)
    note, feedback = fact.note, fact.feedback
    assert isinstance(feedback, Correction)
    before, after = SPELLINGS[note.wire.get("spelling", 0)]
    said = {
        before: feedback.before,
        after: feedback.after,
        "tenant_id": note.wire.get("tenant"),
        "explanation": feedback.explanation or None,
        "query": note.query,
        "category": note.category if note.category_by == "given" else None,
        "user_id": note.person,
        "timestamp": time_as_sent(note),
        **{name: getattr(fact.target, name) for name in REFERENCES},
        **note.wire.get("extra", {}),
    }
    return {name: value for name, value in said.items() if value is not None}


CORRECTION: Final = Shape(
    name="correction",
    tells=lambda item: any(name in item for pair in SPELLINGS for name in pair),
    told_by="original and corrected",
    paths=MIXED,
    read=read,
    write=write,
)
