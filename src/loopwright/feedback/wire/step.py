"""A decision that an agent took by itself, or its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from loopwright.core.events import Fact, Stepped
from loopwright.core.feedback import Note, Target
from loopwright.core.interaction import Step, StepOutcome
from loopwright.feedback.draft import Draft, Verify
from loopwright.feedback.members import finite
from loopwright.feedback.times import iso_time, read_time

from .fields import Id, Name, convert
from .shape import Shape


class StepItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision that an agent took, or its outcome: send the same `id` again with the outcome."""

    id: Id | None = None
    """Made by us when it is missing; give your own to report the outcome later."""
    session_id: Id
    kind: Name
    event_id: Id | None = None
    taken_at: str | int | None = None
    data: dict[str, Any] = {}
    confidence: float | None = None
    outcome: Name | None = None
    interaction_id: Id | None = None
    user_id: Id | None = None
    """The user it was taken for: erasing the person erases it."""


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read a step; raises `Invalid`."""
    given: StepItem = convert(item, StepItem)
    at_ms, flags = received_ms, tuple[str, ...]()
    if given.taken_at is not None:
        at_ms, _, flags = read_time(given.taken_at, "taken_at")
    outcome, data = given.outcome, given.data
    if outcome is not None and outcome not in _STEP_OUTCOMES:
        data, outcome = data | {"unknown_outcome": outcome}, None
        flags += ("unknown_outcome",)
    confidence = None if given.confidence is None else finite(given.confidence, "confidence")
    return Draft(
        event_id=given.event_id,
        is_dated=given.taken_at is not None,
        target=Target(session_id=given.session_id),
        note=Note(occurred_at_ms=at_ms, session_id=given.session_id, shape="step", flags=flags),
        step=Step(
            id=given.id or "",
            session_id=given.session_id,
            kind=given.kind,
            taken_at_ms=at_ms,
            data=data,
            confidence=confidence,
            outcome=_STEP_OUTCOMES[outcome] if outcome else None,
            interaction_id=given.interaction_id,
        ),
        is_free=bool(data),
        user_id=given.user_id,
    )


_STEP_OUTCOMES: Final[dict[str, StepOutcome]] = {
    "success": "success",
    "failure": "failure",
    "correction": "correction",
}


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return a step as it was sent; its time is in UTC."""
    (fact,) = facts
    assert isinstance(fact, Stepped)
    said: dict[str, Any] = msgspec.to_builtins(fact.step)
    said["taken_at"] = iso_time(said.pop("taken_at_ms"))
    said["user_id"] = said.pop("person", None)
    said.pop("wire", None)
    said["data"] = dict(said.get("data", {}))
    said["outcome"] = said["data"].pop("unknown_outcome", said.get("outcome"))
    return {name: value for name, value in said.items() if value not in (None, {})}


STEP: Final = Shape(
    name="step",
    tells=lambda item: True,
    paths=frozenset({"step"}),
    read=read,
    write=write,
    fact=Stepped,
)
