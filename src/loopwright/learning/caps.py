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
from loopwright.core.feedback import Who

from .tally import Reason


class Spender(NamedTuple):
    """One count that a fact adds to: the day and the digest of arm and who, and what the cap is."""

    reason: Reason
    day: int
    key: bytes
    most: int


def whose(fact: Received | Expected, before: Fact | None) -> Who:
    """Return who sent a fact; the unit and the session of the decision stand in where it does not say.

    `before` is the fact just before it in the log. A derived reward from before rewards named their sender has
    it there: the `Reported` fact with the same event id.
    """
    decision = fact.decision
    sent = None
    if type(fact) is Received and fact.derived:
        sent = fact.who
        if sent is None and type(before) is Reported and before.event_id == fact.event_id:
            sent = sender_of(before)
    # Without an address: a plain reward comes from the product's server, and an address shared by all would
    # cap them all.
    if sent is None:
        return Who(decision.unit_id, decision.session_id)
    return Who(
        sent.person or decision.unit_id, sent.session_id or decision.session_id, sent.address
    )


def sender_of(fact: Reported) -> Who:
    """Return who sent a `Reported` fact, as far as it says."""
    note = fact.note
    return Who(note.person, fact.target.session_id or note.session_id, note.address)


def spenders(caps: Caps, who: Who, /, *, arm_id: str, event_ms: int) -> tuple[Spender, ...]:
    """Return the counts that a fact adds to if it teaches; none when nobody is known."""
    day = event_ms // DAY_MS
    limits: tuple[tuple[Reason, str | None, int], ...] = (
        ("capped_person", who.person, caps.per_person),
        ("capped_session", who.session_id, caps.per_session),
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
