"""How much of an arm's day one person, session or address may teach.

A few accounts that send without end would teach an arm whatever they like. Where an experiment has caps, what
goes beyond them teaches nothing and is counted; the facts stay in the log as they are. A decision uses up an
allowance once, when it first teaches: what corrects it, or replaces an expectation, is free. A fact that is
refused by one cap uses up none.

Days are those of the log's own time (UTC), which only goes forward. So the counts are those of one day, and the
same log gives the same state however it is read.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from loopwright.core.clock import DAY_MS
from loopwright.core.events import Expected, Fact, Received, Reported
from loopwright.core.experiment import Caps

from .tally import Reason


class Who(NamedTuple):
    """By whom a fact is, as far as that is known. An experiment's unit stands for the person."""

    person: str | None = None
    session: str | None = None
    address: str | None = None


class Spender(NamedTuple):
    """One count that a fact adds to: the day and the digest of arm and who, and what the cap is."""

    reason: Reason
    day: int
    key: bytes
    most: int


def whose(fact: Received | Expected, written: Fact, before: Fact | None) -> Who:
    """Return by whom a fact is. `written` is how the log has it, `before` the fact just before it.

    Of a reward that was computed from a rating, a signal or the like, that is said by what it was computed from.
    """
    decision = fact.decision
    if type(fact) is Received and fact.derived:
        said = written if type(written) is Reported else before
        if type(said) is Reported and said.event_id == fact.event_id:
            note = said.note
            return Who(
                note.person or decision.unit_id,
                said.target.session_id or note.session_id or decision.session_id,
                note.address,
            )
    return Who(decision.unit_id, decision.session_id)


def spenders(caps: Caps, who: Who, /, *, arm_id: str, event_ms: int) -> tuple[Spender, ...]:
    """Return the counts that a fact adds to if it teaches; none when nobody is known."""
    day = event_ms // DAY_MS
    limits: tuple[tuple[Reason, str | None, int], ...] = (
        ("capped_person", who.person, caps.per_person),
        ("capped_session", who.session, caps.per_session),
        ("capped_address", who.address, caps.per_address),
    )
    return tuple(
        Spender(reason, day, _key(day, arm_id, reason, id), most)
        for reason, id, most in limits
        if id is not None
    )


def _key(day: int, arm_id: str, reason: Reason, id: str, /) -> bytes:
    """Return a digest: neither units nor sessions are spelt out in the learner's tables."""
    said = f"{day}\0{arm_id}\0{reason}\0{id}".encode("utf-8", "surrogatepass")
    return blake2b(said, digest_size=16).digest()
