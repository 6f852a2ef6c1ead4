"""The last stage: facts with their keys, and the rewards that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from loopwright.core.errors import RewardInvalid
from loopwright.core.events import Interacted, Received, Reported, Stepped
from loopwright.core.feedback import Feedback, Note, Outcome, Who, metric_of
from loopwright.core.reward import RewardSpec, normalise
from loopwright.feedback.draft import Draft
from loopwright.feedback.rewards import identity_of, reward_key
from loopwright.feedback.wire.shape import INNER
from loopwright.people import Person

from .identify import Find, Identity, key_of

Keyed = Sequence[tuple[Any, bytes]]
"""Facts with the keys under which the log stores them once."""


def facts_of(
    drafts: Sequence[Draft],
    identities: Sequence[Identity],
    *,
    persons: Mapping[str, Person],
    tenant_id: str,
    received_ms: int,
    find: Find,
) -> list[Keyed]:
    """Return the facts of each finished draft; those of an interaction include the feedback inside it.

    Feedback from which a decision's reward can be computed is followed by that reward, if the person's own consent,
    or else the consent of the fact, allows training.
    """
    own_consent: dict[str | None, Sequence[str]] = {
        id: person.consent for id, person in persons.items() if person.consent is not None
    }
    made: list[Keyed] = []
    for draft, identity in zip(drafts, identities, strict=True):
        feedback, note, decision = draft.feedback, draft.note, draft.target.decision
        experiment = None if decision is None else find(tenant_id, decision.experiment_id)
        spec = None if experiment is None else experiment.reward
        taught = spec if "train" in own_consent.get(draft.user_id, note.consent) else None
        if feedback is not None:
            keyed = _reported(draft, feedback, note, identity, tenant_id, received_ms, taught)
            if draft.also:
                keyed = [*keyed, *_inner(draft, identity[0], tenant_id, received_ms, spec, taught)]
            made.append(keyed)
        elif draft.step is not None:
            made.append([(Stepped(identity[0], received_ms, tenant_id, draft.step), identity[1])])
        else:
            made.append(_interacted(draft, identity, tenant_id, received_ms, spec, taught))
    return made


def _interacted(
    draft: Draft,
    identity: Identity,
    tenant_id: str,
    received_ms: int,
    spec: RewardSpec | None,
    taught: RewardSpec | None,
    /,
) -> Keyed:
    """Return the fact of an interaction, and those of the feedback inside it."""
    event_id, key, _ = identity
    assert draft.interaction is not None
    call = Interacted(event_id, received_ms, tenant_id, draft.interaction)
    return [(call, key), *_inner(draft, event_id, tenant_id, received_ms, spec, taught)]


def _inner(
    draft: Draft,
    event_id: str,
    tenant_id: str,
    received_ms: int,
    spec: RewardSpec | None,
    taught: RewardSpec | None,
    /,
) -> Keyed:
    """Return the facts of the feedback that came inside an item."""
    decision = draft.target.decision
    shape = "interaction" if draft.feedback is None else INNER
    made: list[tuple[Any, bytes]] = []
    for n, also in enumerate(draft.also, 1):
        note = replace(draft.note, wire=also.wire, shape=shape)
        if draft.feedback is None:
            note = replace(note, message=also.text or None)
        inner_id = f"{event_id}.{n}"
        inner_key = key_of(tenant_id, inner_id, 0)
        if decision is not None and spec is not None and type(also.feedback) is Outcome:
            inner_key = reward_key(decision.id, identity_of(spec, also.feedback.metric, inner_id))
        inner = (inner_id, inner_key, False)
        made += _reported(draft, also.feedback, note, inner, tenant_id, received_ms, taught)
    return made


def _reported(
    draft: Draft,
    feedback: Feedback,
    note: Note,
    identity: Identity,
    tenant_id: str,
    received_ms: int,
    taught: RewardSpec | None,
    /,
) -> Keyed:
    """Return a fact and, if `taught` is given, the reward that is computed from it."""
    event_id, key, _ = identity
    target = draft.target
    decision = target.decision
    rewards: Keyed | None = None
    if decision is not None and taught is not None and note.quarantined is None:
        earned = _earned(feedback, taught)
        if earned is not None:
            try:
                normalise(taught, earned.value)
            except (
                RewardInvalid
            ):  # nobody sent this reward, so it is no reason to refuse the feedback
                note = replace(note, flags=(*note.flags, "reward_out_of_range"))
            else:
                # The key of a plain reward: the log keeps as many as the experiment counts.
                who = Who(note.person, target.session_id or note.session_id, note.address)
                reward = Received(event_id, received_ms, decision, earned, derived=True, who=who)
                reward_id = identity_of(taught, earned.metric, event_id)
                rewards = [(reward, reward_key(decision.id, reward_id))]
    fact = Reported(event_id, received_ms, tenant_id, target, feedback, note)
    return ((fact, key), *rewards) if rewards else ((fact, key),)


def _earned(feedback: Feedback, spec: RewardSpec) -> Outcome | None:
    """Return the value of the experiment's metric in feedback; None for an outcome, which is learned as it is."""
    if type(feedback) is Outcome:
        return None
    found = metric_of(feedback)
    return Outcome(*found) if found is not None and found[0] == spec.metric else None
