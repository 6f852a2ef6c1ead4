"""Facts of the log read as parts of a session: actions, and the answer that they are about."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from loopwright.core import events
from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Fact, Interacted, Received, Reported
from loopwright.core.feedback import (
    CONSENT_SCOPES,
    ConsentScope,
    Correction,
    Outcome,
    Signal,
    Target,
)
from loopwright.core.interaction import Interaction
from loopwright.feedback.stages import reference

from .fold import Act, Action
from .signals import log_scaled

DERIVED: Final = events.DERIVED
"""The flag of facts that were made here; facts that carry it are never read here."""

# Names come from outside: without a bound one session could fill the database.
MOST_SIGNALS: Final = 100
"""Names of signals kept of one answer, as the product sent them."""

MOST_WORDS: Final = 500
"""Words of a query that are compared with the next one's."""

NAMES: Final[dict[str, str]] = {
    "abandonment": "abandonment",
    "refinement": "refinement",
    "retry": "retry",
    "follow_up": "follow_up",
    "first_action": "first_action_scaled",
    "dwell": "dwell_scaled",
}
"""What is derived, and the signal's name in the fact: products say `dwell` and `first_action` in milliseconds."""

_ACTS: Final[dict[str, Act]] = {
    "shown": "shown",
    "copy": "copy",
    "retry": "retry",
    "dwell": "dwell",
    "export": "export",
    "dashboard": "dashboard",
    "escalate": "escalate",
    "accept": "accept",
    "edit": "edit",
    "leave": "leave",
    "abandonment": "leave",
}
_DURATIONS: Final = {name: NAMES[name] for name in ("dwell", "first_action")}
"""Signals that products send in milliseconds, and the name of the same on the log scale."""

# Beyond it a float no longer holds every whole millisecond.
_LONGEST_MS: Final = 2**53


class About(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one answer besides what was done with it."""

    target: Target
    person: str | None = None
    task: str | None = None
    consent: tuple[ConsentScope, ...] = CONSENT_SCOPES
    decision: Decision | None = None
    """The decision behind it, when its token or its row was in the session."""
    values: dict[str, float] = {}
    """The signals that the product sent of it; the latest of each name counts, of durations the longest."""

    def joined(self, other: About) -> About:
        """Return both together, `other` being the later.

        The first to name something wins, and only what both consent to is left.
        """
        names = Target.__struct_fields__
        parts = {name: getattr(self.target, name) or getattr(other.target, name) for name in names}
        return About(
            Target(**parts),
            self.person or other.person,
            self.task or other.task,
            tuple(scope for scope in self.consent if scope in other.consent),
            self.decision or other.decision,
            _latest(self.values, other.values),
        )


class Happened(NamedTuple):
    """What one fact says about a session."""

    tenant_id: str
    session_id: str
    actions: list[Action]
    about: tuple[str, About] | None = None
    aliases: tuple[str, ...] = ()
    said: str | None = None


def read(fact: Fact) -> Happened | None:
    """Return what a fact says about a session; None when it says nothing, or was derived here."""
    if isinstance(fact, Reported):
        return _reported(fact)
    if isinstance(fact, Interacted):
        return _interacted(fact)
    if isinstance(fact, Decided):
        return _decided(fact)
    return None


def _reported(fact: Reported) -> Happened | None:
    note, target, feedback = fact.note, fact.target, fact.feedback
    session_id = target.session_id or note.session_id
    # Derived facts are read back from the same log: counted again, they would derive themselves for ever.
    if session_id is None or DERIVED in note.flags or note.quarantined is not None:
        return None
    duration_ms = 0
    said = None
    values: dict[str, float] = {}
    if isinstance(feedback, Correction):
        act: Act | None = "edit"
    elif isinstance(feedback, Signal):
        act, said = _ACTS.get(feedback.name), feedback.name
        take_in(values, feedback.name, feedback.value)
        if act == "dwell":
            # Also false for NaN, which has no whole number.
            if not 0 <= feedback.value <= _LONGEST_MS:
                return None
            duration_ms = round(feedback.value)
    else:
        return None
    name = _name(target)
    # A sender's clock that is ahead would end everyone else's sessions.
    at_ms = min(note.occurred_at_ms, fact.at_ms)
    actions = [Action(session_id, name, act, at_ms, duration_ms=duration_ms)] if act else []
    decision = target.decision
    about = About(
        # The token is kept once, beside the target, or every answer would store its vector twice.
        replace(
            target,
            decision=None,
            decision_id=target.decision_id if decision is None else decision.id,
            session_id=session_id,
        ),
        note.person,
        note.task,
        note.consent,
        decision,
        values,
    )
    return Happened(
        fact.tenant_id,
        session_id,
        actions,
        about=(name, about) if name else None,
        said=said,
    )


def _interacted(fact: Interacted) -> Happened | None:
    call = fact.interaction
    if call.session_id is None:
        return None
    target = Target(
        decision_id=call.decision_id,
        trace_id=call.trace_id,
        span_id=call.span_id,
        session_id=call.session_id,
        message_id=call.message_id,
        output_id=call.id,
    )
    name = f"output {call.id}" if call.decision_id is None else f"decision {call.decision_id}"
    asked_ms = min(call.started_at_ms, fact.at_ms)
    # The client's figure includes the network: that is when a person saw the answer.
    took_ms = call.client_latency_ms or call.server_latency_ms or 0
    shown_ms = min(asked_ms + round(took_ms), fact.at_ms)
    actions = [
        Action(call.session_id, name, "query", asked_ms, text=_words(fact.tenant_id, call)),
        Action(call.session_id, name, "shown", shown_ms),
    ]
    about = About(target, call.person, call.task or None, call.consent)
    return Happened(
        fact.tenant_id,
        call.session_id,
        actions,
        about=(name, about),
        aliases=tuple(_other_names(call)),
    )


def _decided(fact: Decided) -> Happened | None:
    decision = fact.decision
    session_id = decision.session_id
    # A shadow decision was shown to nobody.
    if session_id is None or decision.mode == "shadow":
        return None
    name = f"decision {decision.id}"
    action = Action(session_id, name, "shown", decision.decided_at_ms)
    about = About(Target(decision_id=decision.id, session_id=session_id), decision=decision)
    return Happened(decision.tenant_id, session_id, [action], about=(name, about))


def earned(fact: Fact) -> tuple[Decision, str, str] | None:
    """Return the decision that a fact says the outcome of, the metric, and the session, if all are known."""
    if isinstance(fact, Received):
        decision, session_id = fact.decision, fact.decision.session_id
        metric = fact.feedback.metric
    elif isinstance(fact, Reported) and isinstance(fact.feedback, Outcome):
        note, about = fact.note, fact.target.decision
        if about is None or note.quarantined is not None or "train" not in note.consent:
            return None
        decision, metric = about, fact.feedback.metric
        session_id = fact.target.session_id or note.session_id or decision.session_id
    else:
        return None
    return None if session_id is None else (decision, metric, session_id)


def take_in(values: dict[str, float], name: str, value: float) -> None:
    """Put a signal as the product sent it among what a surrogate reads of the same answer.

    The latest value of a name counts; durations go on a log scale, and the longest counts.
    """
    scaled = _DURATIONS.get(name)
    if scaled is None:
        values[name] = value
    elif value >= 0:
        found = log_scaled(round(min(value, float(_LONGEST_MS))))
        # Time in view is sent again while it grows, and reports may overtake each other.
        values[scaled] = max(found, values.get(scaled, 0.0))


def _latest(values: dict[str, float], later: dict[str, float]) -> dict[str, float]:
    """Return the signals of both, the first names where there are too many."""
    if not later:
        return values
    both = {**values, **later}
    for name in _DURATIONS.values():
        if name in values and name in later:
            both[name] = max(values[name], later[name])
    return dict(itertools.islice(both.items(), MOST_SIGNALS))


def _name(target: Target) -> str:
    """Return what an answer goes by; empty when only the session is known."""
    kind, first, second = reference(target)
    if kind == "session":
        return ""
    return f"{kind} {first}" if second is None else f"{kind} {first} {second}"


def _other_names(call: Interaction) -> Iterator[str]:
    if call.decision_id is not None:
        yield f"output {call.id}"
    if call.trace_id is not None:
        yield f"trace {call.trace_id}"
        if call.span_id is not None:
            yield f"trace {call.trace_id} {call.span_id}"
    if call.message_id is not None:
        yield f"message {call.session_id} {call.message_id}"


def _words(tenant_id: str, call: Interaction) -> str:
    """Return a query as digests of its words: likeness needs to know which are equal, and nothing more."""
    # Salted by tenant, so that equal words of two tenants are not equal here; 48 bits each keep a query short.
    words = call.query.casefold().split()[:MOST_WORDS] if call.query else []
    salt = blake2b(tenant_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if not words:
        # Without a text, equal inputs still show as a retry, and different ones as follow-ups.
        words = [f"input {call.input_hash or call.id}"]
    return " ".join(
        blake2b(word.encode("utf-8", "surrogatepass"), digest_size=6, salt=salt).hexdigest()
        for word in words
    )
