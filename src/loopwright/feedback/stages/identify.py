"""The second stage: give each draft the event id and the key under which the log stores it once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.clock import DAY_MS
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Correction, Outcome, Target
from loopwright.core.ids import time_of
from loopwright.feedback.draft import Draft
from loopwright.feedback.rewards import identity_of, reward_key

_encode: Final = msgspec.msgpack.Encoder().encode

Find = Callable[[str, str], Experiment | None]
"""Returns an experiment by tenant and id; None when there is none."""

Identity = tuple[str, bytes, bool]
"""What makes two facts the same fact: event id, key in the log, and whether both are derived from the content.

The key has 24 bytes and begins with a time, so that the log's key index grows near its end. A plain tuple:
one is made for every item, and a named tuple takes three times as long.
"""


def deduplicate(
    drafts: Sequence[Draft], *, tenant_id: str, key: bytes, find: Find, new_id: Callable[[], str]
) -> list[Identity]:
    """Return the identity of each draft: the sender's event id, or one derived from the content.

    Equal content is the same fact, whatever its wire shape. A fact without a time that refers only to its session
    gets a fresh id, because two of those cannot be told apart. An interaction or a step without an id is given one.
    """
    keyed = _keyed(key)
    identities: list[Identity] = []
    for draft in drafts:
        feedback = draft.feedback
        about = _identified(draft)
        if feedback is None:
            _give_id(draft, new_id)
        decision = draft.target.decision
        if draft.event_id is None and (decision is not None or _is_specific(draft)):
            digest = _digest(draft, about, keyed)
            if draft.is_dated:
                near = draft.note.occurred_at_ms.to_bytes(6, "big")
            else:
                near = _NO_TIME if decision is None else bytes.fromhex(decision.id[:12])
            identity = digest[:16].hex(), near + digest, True
        else:
            identity = _by_event_id(draft, tenant_id, new_id)
        # `type(x) is`, not `isinstance`, which takes ten times as long for a struct of another kind.
        if type(feedback) is Outcome and decision is not None:
            experiment = find(tenant_id, decision.experiment_id)
            if experiment is not None:
                # The key of a plain reward: the same outcome through both paths is one fact.
                event_id, _, derived = identity
                said = identity_of(experiment.reward, feedback.metric, event_id)
                identity = event_id, reward_key(decision.id, said), derived
        identities.append(identity)
    return identities


_NO_TIME: Final = bytes(6)


def _by_event_id(draft: Draft, tenant_id: str, new_id: Callable[[], str]) -> Identity:
    """Return the identity by the sender's event id, or by a fresh one."""
    event_id = draft.event_id
    if event_id is None:
        event_id = new_id()
        return event_id, key_of(tenant_id, event_id, time_of(event_id)), False
    # A retry may carry a new time of the same day; a derived id has its time in it.
    near_ms = draft.note.occurred_at_ms if draft.is_dated else 0
    return event_id, key_of(tenant_id, event_id, near_ms - near_ms % DAY_MS), False


def key_of(tenant_id: str, event_id: str, near_ms: int) -> bytes:
    """Return the key under which the log stores a fact once; `near_ms` puts it beside others of its time."""
    said = f"{tenant_id}\0{event_id}".encode("utf-8", "surrogatepass")
    return near_ms.to_bytes(6, "big") + blake2b(said, digest_size=18).digest()


def _is_specific(draft: Draft) -> bool:
    """Say whether a draft without a decision can be told from others by its time or its reference."""
    target = draft.target
    return not draft.is_new and bool(
        draft.is_dated
        or target.decision_id
        or target.trace_id
        or target.message_id
        or target.output_id
        or draft.step is not None
    )


_Reference = tuple[str, str | None, str | None]


def reference(target: Target) -> _Reference:
    """Return the strongest reference of a target, as its kind and up to two ids."""
    decision = target.decision
    if decision is not None:
        return "decision", decision.id, None
    if target.decision_id is not None:
        return "decision", target.decision_id, None
    if target.trace_id is not None:
        return "trace", target.trace_id, target.span_id
    if target.message_id is not None:
        return "message", target.session_id, target.message_id
    if target.output_id is not None:
        return "output", target.output_id, None
    return "session", target.session_id, None


def _identified(draft: Draft) -> _Reference:
    """Return what tells an item from others: the own id of a call, as a trace may have many; else its reference."""
    call = draft.interaction
    return ("output", call.id, None) if call is not None and call.id else reference(draft.target)


def _digest(draft: Draft, about: _Reference, keyed: blake2b) -> bytes:
    """Return 18 bytes made from content, reference, person and time; keyed, so that nobody can guess the content."""
    note = draft.note
    when = note.occurred_at_ms if draft.is_dated else None
    said: Any = draft.feedback
    if said is None:  # one record per call: it may come again with more members filled in
        said = draft.step if draft.interaction is None else "interaction"
    elif type(said) is Correction:
        said = (said.before, said.after)
    hashed = keyed.copy()
    hashed.update(_encode((about, said, draft.user_id, draft.reviewer_id, when, note.message)))
    return hashed.digest()


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> blake2b:
    return blake2b(key=key, digest_size=18)


def _give_id(draft: Draft, new_id: Callable[[], str]) -> None:
    """Give an interaction or a step an id where the product has none."""
    call, step = draft.interaction, draft.step
    if call is not None and not call.id:
        made = new_id()
        draft.interaction = replace(call, id=made)
        draft.target = replace(draft.target, output_id=made)
    elif step is not None and not step.id:
        draft.step = replace(step, id=new_id())
