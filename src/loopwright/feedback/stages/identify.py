"""The second stage: give each draft its event id and its mark, under which the log stores it once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Correction, Outcome, Target
from loopwright.core.ports import Mark
from loopwright.feedback.draft import Draft
from loopwright.feedback.identity import (
    canonical,
    content_of,
    event_key,
    former_keys,
    reward_key,
    word_key,
)
from loopwright.feedback.rewards import Rewarded, identity_of, mark_of
from loopwright.people import Person

Find = Callable[[str, str], Experiment | None]
"""Returns an experiment by tenant and id; None when there is none."""

Taken = Callable[[Sequence[bytes]], Collection[bytes]]
"""Returns those of some keys that the log has."""

Identity = tuple[str, Mark, bool]
"""What makes two facts the same fact: event id, mark in the log, and whether both are derived from the content.

A plain tuple: one is made for every item, and a named tuple takes three times as long.
"""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the identity of a draft depends on beside the draft."""

    tenant_id: str
    received_ms: int
    key: bytes
    """Of the tenant; digests of content are made with it, so that nobody can guess the content."""
    persons: Mapping[str, Person]
    hide_address: Callable[[str], str]
    find: Find
    new_id: Callable[[], str]
    former: Taken | None = None
    """Asked for keys as they were made until December 2026, where the log has such."""


def deduplicate(drafts: Sequence[Draft], asked: Asked) -> list[Identity]:
    """Return the identity of each draft: the sender's event id, or one derived from the content.

    An interaction or a step without an id is given one.
    """
    keyed = _keyed(asked.key)
    identities: list[Identity] = []
    turns: dict[bytes, int] = {}
    for draft in drafts:
        about = _identified(draft)
        if draft.event_id is not None:
            identity = _by_event_id(draft, about, asked)
        elif draft.target.decision is not None or _is_specific(draft):
            identity = _by_content(draft, about, asked, keyed, turns)
        else:  # nothing tells it from another one
            event_id = asked.new_id()
            identity = event_id, Mark(event_key(asked.tenant_id, event_id), _NOTHING), False
        # `type(x) is`, not `isinstance`, which takes ten times as long for a struct of another kind.
        if type(draft.feedback) is Outcome and draft.target.decision is not None:
            identity = _as_reward(draft, draft.feedback, identity, asked)
        if draft.feedback is None:
            _give_id(draft, identity[0])
        identities.append(identity)
    if asked.former is not None:
        return _under_former_keys(drafts, identities, asked)
    return identities


_NOTHING: Final = bytes(8)


def _by_event_id(draft: Draft, about: _Reference, asked: Asked) -> Identity:
    """Return the identity by the sender's event id; the content tells a repetition from a conflict.

    Times and addresses are left out: a retry may be sent later and from another place.
    """
    assert draft.event_id is not None
    note = draft.note
    content = content_of(
        about,
        _said(draft),
        _persons(draft, asked),
        draft.target.session_id or note.session_id,
        (note.message, note.query, note.response),
        note.labels,
        note.tags,
    )
    key = event_key(asked.tenant_id, canonical(draft.event_id))
    return draft.event_id, Mark(key, content), False


def _by_content(
    draft: Draft, about: _Reference, asked: Asked, /, keyed: blake2b, turns: dict[bytes, int]
) -> Identity:
    """Return an identity by who says what about which thing, and when if the sender says so.

    With a time, equal facts are one. Without, the fact is the person's latest word about the thing: it is repeated by
    an equal one, and followed by any other.
    """
    note, call, decision = draft.note, draft.interaction, draft.target.decision
    address = None if draft.address is None else asked.hide_address(draft.address)
    who = (*_persons(draft, asked), draft.target.session_id or note.session_id, address)
    said: Any = _said(draft), note.message
    if call is not None and call.id:
        # One record per call: it may come again with more members filled in.
        said = "interaction"
    if draft.is_dated:
        near = note.occurred_at_ms.to_bytes(6, "big")
        key = word_key(keyed, near, about, said, who, note.occurred_at_ms)
        return key[6:22].hex(), Mark(key, _NOTHING), True
    near = bytes(6) if decision is None else bytes.fromhex(decision.id[:12])
    topic = word_key(keyed, near, about, _kind(draft), who)
    # Words about one topic that arrive in one body have ids of their own all the same.
    turn = turns[topic] = turns.get(topic, -1) + 1
    mark = word(topic, said, asked.received_ms, turn=turn)
    return mark.id.hex(), mark, True


def _as_reward(draft: Draft, outcome: Outcome, identity: Identity, asked: Asked) -> Identity:
    """Return the identity of a decision's outcome: that of a plain reward, so that both paths lead to one fact."""
    decision = draft.target.decision
    assert decision is not None
    experiment = asked.find(asked.tenant_id, decision.experiment_id)
    if experiment is None:
        return identity
    event_id, mark, is_derived = identity
    if not is_derived:
        rewarded = Rewarded(decision.id, outcome.metric, outcome.value)
        return event_id, mark_of(experiment.reward, rewarded, event_id), False
    said = identity_of(experiment.reward, outcome.metric, mark.hex())
    # Where the first one counts, the key is the same whoever says it.
    revises = mark.revises and said != outcome.metric
    return event_id, mark.under(reward_key(decision.id, said), revises=revises), True


def word(topic: bytes, said: Any, received_ms: int, *, turn: int = 0, inside: bool = False) -> Mark:
    """Return the mark of somebody's latest word about a topic; its id is that of the fact, made of topic, word and time."""
    content = content_of(said)
    id = received_ms.to_bytes(6, "big") + content_of(topic, content, turn) + topic[-2:]
    return Mark(topic, content, id=id, revises=True, inside=inside)


def _under_former_keys(
    drafts: Sequence[Draft], identities: list[Identity], asked: Asked
) -> list[Identity]:
    """Return identities in which facts that the log has under a key of former times keep that key."""
    former: dict[int, tuple[bytes, ...]] = {}
    for place, draft in enumerate(drafts):
        if draft.event_id is not None and type(draft.feedback) is not Outcome:
            at_ms = draft.note.occurred_at_ms if draft.is_dated else None
            former[place] = former_keys(asked.tenant_id, draft.event_id, at_ms)
    assert asked.former is not None
    # One question for the whole body: each is a search of the log's key index.
    taken = asked.former([key for keys in former.values() for key in keys])
    for place, keys in former.items():
        for key in keys:
            if key in taken:
                event_id, mark, is_derived = identities[place]
                identities[place] = event_id, mark.under(key, revises=mark.revises), is_derived
    return identities


def _is_specific(draft: Draft) -> bool:
    """Say whether a draft without a decision can be told from others by its time or its reference."""
    target = draft.target
    if draft.is_new and not (draft.is_dated or draft.user_id or draft.address or target.session_id):
        return False
    return bool(
        draft.is_dated
        or target.decision_id
        or target.trace_id
        or target.message_id
        or target.output_id
        or (draft.step is not None and draft.step.id)
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
    """Return what an item is about: a call or a step by its own id, as a trace or session has many; else its reference."""
    call, step = draft.interaction, draft.step
    if call is not None and call.id:
        return "output", call.id, None
    if step is not None:
        return "step", step.session_id, step.id or None
    return reference(draft.target)


def _persons(draft: Draft, asked: Asked) -> tuple[str | None, str | None]:
    """Return the pseudonyms of user and reviewer: a replay knows nothing else of them."""
    user, reviewer, persons = draft.user_id, draft.reviewer_id, asked.persons
    return (
        None if user is None else persons[user].id,
        None if reviewer is None else persons[reviewer].id,
    )


def _kind(draft: Draft) -> Any:
    """Return what kind of word a draft is: one person's words of different kinds do not replace one another."""
    said = draft.feedback
    if said is None:
        return "call" if draft.step is None else ("step", draft.step.kind)
    name = getattr(said, "name", None) or getattr(said, "metric", None)
    return type(said).__name__, name or getattr(said, "scale", None) or getattr(
        said, "rubric", None
    )


def _said(draft: Draft) -> Any:
    """Return what a draft says, without its time."""
    said = draft.feedback
    if type(said) is Correction:
        return said.before, said.after
    if said is not None:
        return said, [also.feedback for also in draft.also] if draft.also else None
    if draft.step is not None:
        # A retry may carry another time; it must not make another fact of the same words.
        return replace(draft.step, taken_at_ms=0)
    assert draft.interaction is not None
    return replace(draft.interaction, started_at_ms=0)


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> blake2b:
    return blake2b(key=key, digest_size=18)


def _give_id(draft: Draft, made: str) -> None:
    """Give an interaction or a step an id where the product has none."""
    call, step = draft.interaction, draft.step
    if call is not None and not call.id:
        draft.interaction = replace(call, id=made)
        draft.target = replace(draft.target, output_id=made)
    elif step is not None and not step.id:
        draft.step = replace(step, id=made)
