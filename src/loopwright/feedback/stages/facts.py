"""The last stage: facts with their keys, and the rewards that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from loopwright.core.errors import RewardInvalid
from loopwright.core.events import Interacted, Received, Reported, Stepped
from loopwright.core.feedback import Feedback, Note, Outcome, Who, metric_of
from loopwright.core.ports import Mark
from loopwright.core.reward import RewardSpec, normalise
from loopwright.feedback.draft import Draft
from loopwright.feedback.identity import canonical, holder, inside_key, reward_content, reward_key
from loopwright.feedback.rewards import FOREIGN, identity_of
from loopwright.feedback.wire.shape import INNER
from loopwright.people import Person

from .identify import Find, Identity, word

Keyed = Sequence[tuple[Any, Mark]]
"""Facts with the marks under which the log stores them once."""


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
        own = own_consent.get(draft.user_id)
        if (
            own is not None
            and decision is not None
            and ("train" in own) != ("train" in note.consent)
        ):
            # An outcome is learned from the log, where the learner sees the fact and not the person.
            note = draft.note = replace(note, consent=tuple(own))
        experiment = None if decision is None else find(tenant_id, decision.experiment_id)
        spec = None if experiment is None else experiment.reward
        taught = spec if "train" in note.consent else None
        if feedback is not None:
            keyed = _reported(draft, feedback, note, identity, tenant_id, received_ms, taught)
            if draft.also:
                within = _Within(
                    tenant_id, received_ms, identity[1], _name(draft, identity), spec, taught
                )
                keyed = [*keyed, *_inner(draft, within)]
            made.append(keyed)
        elif draft.step is not None:
            made.append([(Stepped(identity[0], received_ms, tenant_id, draft.step), identity[1])])
        else:
            assert draft.interaction is not None
            event_id, mark, _ = identity
            call = Interacted(event_id, received_ms, tenant_id, draft.interaction)
            within = _Within(tenant_id, received_ms, mark, _name(draft, identity), spec, taught)
            made.append([(call, mark), *_inner(draft, within)])
    return made


class _Within(NamedTuple):
    """The item that facts are inside of."""

    tenant_id: str
    received_ms: int
    head: Mark
    """The mark of the item's first fact."""
    name: str
    """What the event ids of the facts inside begin with: nothing that a sender could choose."""
    spec: RewardSpec | None
    taught: RewardSpec | None


def _name(draft: Draft, identity: Identity) -> str:
    """Return what the event ids inside an item begin with: its own, and a part of its mark if a sender chose that."""
    event_id, mark, _ = identity
    return event_id if draft.event_id is None else f"{event_id}.{mark.hex()[-12:]}"


def _inner(draft: Draft, within: _Within) -> Keyed:
    """Return the facts of the feedback that came inside an item."""
    decision, spec = draft.target.decision, within.spec
    shape = "interaction" if draft.feedback is None else INNER
    made: list[tuple[Any, Mark]] = []
    for place, also in enumerate(draft.also, 1):
        note = replace(draft.note, wire=also.wire, shape=shape)
        if draft.feedback is None:
            note = replace(note, message=also.text or None)
        said = also.feedback, also.text
        mark = word(inside_key(within.head, place), said, within.received_ms, inside=True)
        event_id = f"{within.name}.{place}"
        if decision is not None and spec is not None and type(also.feedback) is Outcome:
            name = identity_of(spec, also.feedback.metric, mark.hex())
            # Where the first one counts, the key is the same whoever says it.
            mark = mark.under(reward_key(decision.id, name), revises=name != also.feedback.metric)
        inner = (event_id, mark, False)
        made += _reported(
            draft,
            also.feedback,
            note,
            inner,
            within.tenant_id,
            within.received_ms,
            within.taught,
        )
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
    event_id, mark, _ = identity
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
                rewards = [(reward, _reward_mark(taught, reward, mark))]
        elif type(feedback) is Outcome and feedback.metric != taught.metric:
            # Other kinds of feedback are about the answer; an outcome is meant to be a reward.
            note = replace(note, flags=(*note.flags, *FOREIGN))
    fact = Reported(event_id, received_ms, tenant_id, target, feedback, note)
    return ((fact, mark), *rewards) if rewards else ((fact, mark),)


def _reward_mark(spec: RewardSpec, reward: Received, of: Mark) -> Mark:
    """Return the mark of a reward that follows from a fact with the mark `of`, and is repeated only with it."""
    metric, decision_id = reward.feedback.metric, reward.decision.id
    name = of.hex() if of.revises else canonical(reward.event_id)
    said = identity_of(spec, metric, name)
    return Mark(
        reward_key(decision_id, said),
        of.content if of.revises else reward_content(reward.feedback.value),
        id=of.id if of.revises else holder(name),
        revises=of.revises and said != metric,
        rides=True,
        inside=of.inside,
    )


def _earned(feedback: Feedback, spec: RewardSpec) -> Outcome | None:
    """Return the value of the experiment's metric in feedback; None for an outcome, which is learned as it is."""
    if type(feedback) is Outcome:
        return None
    found = metric_of(feedback)
    return Outcome(*found) if found is not None and found[0] == spec.metric else None
