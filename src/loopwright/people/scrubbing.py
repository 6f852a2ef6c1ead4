"""The remains of a fact about an erased person: the numbers that were learned from, without a link to the person.

Learning is a pure function of the log, and a replay must still give the same parameters. So the inputs of learning
stay as they were: times, arm, odds, vector, metric and value. Texts, labels, wire members and ids of the product are
removed, or replaced by digests made with a key that is destroyed at the end of the erasure: equal ids stay equal,
because caps count by them, and no digest can be traced back.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.decision import ERASED, Decision
from loopwright.core.events import Decided, Expected, Fact, Interacted, Received, Reported, Stepped
from loopwright.core.feedback import Annotation, Correction, Feedback, Note, Target, Who
from loopwright.core.interaction import Interaction, Step

from .units import NAMING

REMAINS: Final = "gone:"
"""What the ids in an erased person's facts begin with."""


class Erasing(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that is not finished: who it is about, and by which ids facts of them are known."""

    tenant_id: str
    person: str
    at_ms: int
    secret: bytes
    ids: tuple[str, ...] = ()
    """What stands for the person in decisions: the pseudonym of their unit, and in older facts the user id itself."""

    @property
    def marks(self) -> tuple[bytes, ...]:
        """Byte strings; every fact about the person holds at least one of them."""
        return tuple(id.encode("utf-8", "surrogatepass") for id in (self.person, *self.ids))


class Scrubber:
    """Returns the remains of each fact once a person is erased: the fact itself when it is not about them."""

    def __init__(self, erasing: Erasing) -> None:
        self._tenant_id = erasing.tenant_id
        self._person = erasing.person
        self._ids: Collection[str] = frozenset(erasing.ids)
        self._unit = ERASED + erasing.person
        self._keyed = blake2b(key=erasing.secret, digest_size=16)

    def __call__(self, fact: Fact) -> Fact:
        """Return the remains of `fact`."""
        # A user id of another tenant may be spelt alike.
        if fact.tenant_id != self._tenant_id:
            return fact
        match fact:
            case Decided(decision):
                return Decided(self._decision(decision)) if self._is_theirs(decision) else fact
            case Received():
                return self._received(fact)
            case Expected():
                return self._expected(fact)
            case Reported():
                return self._reported(fact)
            case Interacted(_, _, _, interaction) if interaction.person == self._person:
                return replace(fact, interaction=self._interaction(interaction))
            case Stepped(_, _, _, step) if step.person == self._person:
                return replace(fact, step=self._step(step))
        return fact

    def _is_theirs(self, decision: Decision | None) -> bool:
        if decision is None:
            return False
        if decision.unit_id in self._ids or decision.context_id in self._ids:
            return True
        metadata = decision.metadata
        return metadata is not None and any(
            str(metadata[name]) in self._ids for name in NAMING if name in metadata
        )

    def _received(self, fact: Received) -> Fact:
        who = fact.who
        is_sender = who is not None and who.person == self._person
        if not (is_sender or self._is_theirs(fact.decision)):
            return fact
        if who is not None:
            who = Who(who.person, self._hidden(who.session_id), self._hidden(who.address))
        event_id = self._event_id(fact.event_id)
        return replace(fact, event_id=event_id, decision=self._decision(fact.decision), who=who)

    def _expected(self, fact: Expected) -> Fact:
        if not self._is_theirs(fact.decision):
            return fact
        return replace(fact, decision=self._decision(fact.decision))

    def _reported(self, fact: Reported) -> Fact:
        note, target, feedback = fact.note, fact.target, fact.feedback
        if note.person == self._person or self._is_theirs(target.decision):
            return replace(
                fact,
                event_id=self._event_id(fact.event_id),
                target=self._target(target),
                feedback=_wordless(feedback),
                note=self._note(note),
            )
        if type(feedback) is Annotation and feedback.reviewer == self._person:
            said = replace(feedback, reviewer=self._unit, rationale="")
            return replace(fact, feedback=said, note=replace(note, wire={}, message=None))
        return fact

    def _decision(self, decision: Decision) -> Decision:
        session = self._hidden(decision.session_id)
        return replace(
            decision,
            unit_id=self._unit,
            context_id=None,
            # The session stays, as a digest: caps count decisions by it.
            metadata=None if session is None else {"session_id": session},
        )

    def _target(self, target: Target) -> Target:
        decision = target.decision
        # The decision's id stays, so that outcome and decision still join.
        return Target(
            None if decision is None else self._decision(decision),
            target.decision_id,
            self._hidden(target.trace_id),
            self._hidden(target.span_id),
            self._hidden(target.session_id),
            self._hidden(target.message_id),
            self._hidden(target.output_id),
        )

    def _note(self, note: Note) -> Note:
        return Note(
            occurred_at_ms=note.occurred_at_ms,
            source=note.source,
            person=self._person,
            address=self._hidden(note.address),
            session_id=self._hidden(note.session_id),
            consent=note.consent,
            flags=note.flags,
            quarantined=note.quarantined,
            shape=note.shape,
        )

    def _interaction(self, interaction: Interaction) -> Interaction:
        return Interaction(
            id=self._hidden(interaction.id) or "",
            started_at_ms=interaction.started_at_ms,
            session_id=self._hidden(interaction.session_id),
            decision_id=interaction.decision_id,
            person=self._person,
            consent=interaction.consent,
        )

    def _step(self, step: Step) -> Step:
        return Step(
            id=self._hidden(step.id) or "",
            session_id=self._hidden(step.session_id) or "",
            kind=step.kind,
            taken_at_ms=step.taken_at_ms,
            person=self._person,
        )

    def _hidden(self, id: str | None) -> str | None:
        """Return a digest of an id; a digest made here before stays, so that a repetition changes nothing."""
        if not id or id.startswith(REMAINS):
            return id
        digest = self._keyed.copy()
        digest.update(id.encode("utf-8", "surrogatepass"))
        return REMAINS + digest.hexdigest()

    def _event_id(self, event_id: str) -> str:
        return self._hidden(event_id) or ""


def _wordless(feedback: Feedback) -> Any:
    """Return feedback without its texts."""
    if type(feedback) is Correction:
        # The distance was computed before and is what learning reads.
        return Correction("", "", "", feedback.distance)
    if type(feedback) is Annotation:
        return replace(feedback, rationale="")
    return feedback
