"""The stages of intake: from items to facts with their identities.

validate → deduplicate → redact → enrich → classify. What a stage needs of the world (keys, people, what was said
before) is handed to it. `validate` takes one item, as each is refused on its own; the others take all drafts of a
body at once, which halves what an item without words costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Forbidden, Invalid, RewardInvalid
from loopwright.core.events import Interacted, Received, Reported, Stepped
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import (
    Annotation,
    Correction,
    Feedback,
    Note,
    Outcome,
    Rating,
    Target,
    metric_of,
)
from loopwright.core.ids import time_of
from loopwright.core.reward import RewardSpec, normalise
from loopwright.people import Person
from loopwright.people.consent import require_store
from loopwright.texts.classify import Classifier, Scores
from loopwright.texts.distance import edit_distance
from loopwright.texts.redact import Redacted, Redactor

from .draft import FREE_TEXT, TEXT_CHARS, WIRE_BYTES, Draft, Verify
from .service import identity_of, reward_key
from .shapes import Path, read

AHEAD_MS: Final = 300_000
"""How far a sender's clock may be ahead of ours before the fact is flagged."""

LEAST_SHARE: Final = 0.35
"""Least probability at which a category is noted; rules that find nothing stay well below."""

_DAY_MS: Final = 86_400_000

# Kinds are told by `type(x) is`, not `isinstance`: for a struct that is not of the kind, that is ten times as slow.
_WORDED: Final = frozenset({Correction, Annotation})
_encode: Final = msgspec.msgpack.Encoder().encode

Find = Callable[[str, str], Experiment | None]

Changes = dict[str, Any]
"""What becomes different in the note of a draft by its texts; it is put there once, when they have been read."""


Identity = tuple[str, bytes, bool]
"""What makes a fact the same fact again: its event id, its key in the log, whether both come from the content.

The key has 24 bytes and begins with a time, so that the log's key index grows near its end. A plain tuple, as one
is made for every item: a named one takes three times as long to make.
"""


def validate(
    item: Any, path: Path, /, tenant_id: str, received_ms: int, verify: Verify, find: Find
) -> Draft:
    """Understand an item and check what can be checked without changing it.

    Raises `Invalid` and its kinds, a token error, `Forbidden` for another tenant, or `RewardInvalid`.
    """
    draft = read(item, path, received_ms, verify)
    note, target = draft.note, draft.target
    if "store" not in note.consent:
        require_store(note.consent)
    if draft.is_free:
        _check_storable(note.wire if draft.step is None else draft.step.data)
    if note.shape == "event" and note.wire.get("tenant", tenant_id) != tenant_id:
        raise Forbidden(
            f"tenant_id is {note.wire['tenant']!r}; the API key belongs to another tenant"
        )
    if target.decision is not None:
        if type(draft.feedback) is Outcome:
            _check_outcome(draft.feedback, find(tenant_id, target.decision.experiment_id))
    elif draft.feedback is not None and target == _NOTHING:
        if note.source == "end_user":
            raise Invalid(
                "the feedback refers to nothing; send request_id, decision_id, trace_id, session_id with "
                "message_id, or output_id"
            )
        draft.note = replace(note, flags=(*note.flags, "without_target"))
    return draft


_NOTHING: Final = Target()


def _check_storable(wire: Mapping[str, Any]) -> None:
    try:
        size = len(_encode(wire))
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the item cannot be kept: {error}; send 64-bit integers at most") from None
    if size > WIRE_BYTES:
        raise Invalid(
            f"data and members without a place of their own take {size} bytes; at most {WIRE_BYTES} are kept",
            found=size,
            limit=WIRE_BYTES,
        )
    _check_texts(wire)


def _check_texts(value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and len(inner) > TEXT_CHARS:
                raise Invalid(f"{name} has {len(inner)} characters; at most {TEXT_CHARS} are taken")
            _check_texts(inner)


def _check_outcome(outcome: Outcome, experiment: Experiment | None) -> None:
    if experiment is not None and outcome.metric == experiment.reward.metric:
        normalise(experiment.reward, outcome.value)


def deduplicate(
    drafts: Sequence[Draft], *, tenant_id: str, key: bytes, find: Find, new_id: Callable[[], str]
) -> list[Identity]:
    """Return who each fact is: the sender's event id, or one derived from the content.

    The same content is the same fact, whichever shape it came in. Only a fact without a time that says no more
    than its session gets a fresh id: nothing tells two of those apart. An interaction or a step without an id of
    its own is given one.
    """
    keyed = _keyed(key)
    identities: list[Identity] = []
    for draft in drafts:
        feedback = draft.feedback
        if feedback is None:
            _name(draft, new_id)
        decision = draft.target.decision
        if draft.event_id is None and (decision is not None or _is_specific(draft)):
            digest = _digest(draft, keyed)
            if draft.is_dated:
                near = draft.note.occurred_at_ms.to_bytes(6, "big")
            else:
                near = _NEVER if decision is None else bytes.fromhex(decision.id[:12])
            identity = digest[:16].hex(), near + digest, True
        else:
            identity = _named(draft, tenant_id, new_id)
        if type(feedback) is Outcome and decision is not None:
            experiment = find(tenant_id, decision.experiment_id)
            if experiment is not None:
                # The key of a plain reward: the same outcome through both paths is one fact.
                event_id, _, derived = identity
                said = identity_of(experiment.reward, feedback.metric, event_id)
                identity = event_id, reward_key(decision.id, said), derived
        identities.append(identity)
    return identities


_NEVER: Final = bytes(6)


def _named(draft: Draft, tenant_id: str, new_id: Callable[[], str]) -> Identity:
    """Return who a fact is by the sender's event id, or by a fresh one."""
    event_id = draft.event_id
    if event_id is None:
        event_id = new_id()
        return event_id, key_of(tenant_id, event_id, time_of(event_id)), False
    # The same event id may be stamped anew by a retry; a derived one has its time in it.
    near_ms = draft.note.occurred_at_ms if draft.is_dated else 0
    return event_id, key_of(tenant_id, event_id, near_ms - near_ms % _DAY_MS), False


def key_of(tenant_id: str, event_id: str, near_ms: int) -> bytes:
    """Return the key under which the log stores a fact once; `near_ms` puts it beside others of its time."""
    said = f"{tenant_id}\0{event_id}".encode("utf-8", "surrogatepass")
    return near_ms.to_bytes(6, "big") + blake2b(said, digest_size=18).digest()


def _is_specific(draft: Draft) -> bool:
    """Say whether a draft that came without a decision is told from others by its time or by what it is about."""
    target = draft.target
    return bool(
        draft.is_dated
        or target.decision_id
        or target.trace_id
        or target.message_id
        or target.output_id
        or draft.step is not None
    )


def reference(target: Target) -> tuple[str, str | None, str | None]:
    """Return the reference that wins, as its kind and up to two ids."""
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


def _digest(draft: Draft, keyed: blake2b) -> bytes:
    """Return 18 bytes made from what was said, about what, by whom and when; keyed, so that they tell nothing."""
    note = draft.note
    when = note.occurred_at_ms if draft.is_dated else None
    said: Any = draft.feedback
    if said is None:  # of a call there is one record, however much of it is known
        said = draft.step if draft.interaction is None else "interaction"
    elif type(said) is Correction:
        said = (said.before, said.after)
    about = reference(draft.target)
    hashed = keyed.copy()
    hashed.update(_encode((about, said, draft.user_id, draft.reviewer_id, when, note.message)))
    return hashed.digest()


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> blake2b:
    return blake2b(key=key, digest_size=18)


Worded = Sequence[tuple[Draft, Changes]]
"""The drafts that hold free text, each with its changes: all that the stages which read texts have to look at."""


def worded(drafts: Sequence[Draft]) -> Worded:
    """Return the drafts that hold free text, with nothing changed yet."""
    found: list[tuple[Draft, Changes]] = []
    for draft in drafts:
        note = draft.note
        if (
            note.message
            or note.query
            or note.response
            or draft.is_free
            or type(draft.feedback) in _WORDED
            or draft.interaction is not None
        ):
            found.append((draft, {}))
    return found


def redact(drafts: Worded, *, redactor: Redactor, key: bytes) -> int:
    """Take personal data out of declared free text; ids, labels and other keys are left alone.

    Return from how many drafts anything was taken out.
    """
    clean = redactor.redact
    return sum([_redact(draft, changes, clean, key) for draft, changes in drafts])


def _redact(draft: Draft, changes: Changes, redact: Redact, key: bytes, /) -> bool:
    note, feedback = draft.note, draft.feedback
    interaction, step = draft.interaction, draft.step
    counts: dict[str, int] = {}
    clean = partial(_clean, redact, key, counts)
    if note.message:
        changes["message"] = clean(note.message)
    if note.query:
        changes["query"] = clean(note.query)
    if note.response:
        changes["response"] = clean(note.response)
    if type(feedback) is Correction or type(feedback) is Annotation:
        feedback = _clean_feedback(feedback, clean)
    wire = _clean_tree(note.wire, clean) if draft.is_free else note.wire
    if interaction is not None and (interaction.query or interaction.response):
        interaction = replace(
            interaction,
            query=interaction.query and clean(interaction.query),
            response=interaction.response and clean(interaction.response),
        )
    if step is not None and step.data:
        step = replace(step, data=_clean_tree(step.data, clean))
    if not counts:
        changes.clear()
        return False
    if interaction is not None:
        interaction = replace(interaction, redactions=_added(interaction.redactions, counts))
    draft.feedback, draft.interaction, draft.step = feedback, interaction, step
    changes["redactions"] = counts
    changes["wire"] = wire
    return True


Redact = Callable[[str, bytes], Redacted]


def _clean(redact: Redact, key: bytes, counts: dict[str, int], text: str, /) -> str:
    found = redact(text, key)
    if not found.counts:
        return text
    for kind, count in found.counts.items():
        counts[kind] = counts.get(kind, 0) + count
    return found.text


def _clean_feedback(
    feedback: Correction | Annotation, clean: Callable[[str], str]
) -> Correction | Annotation:
    if type(feedback) is Annotation:
        if not feedback.rationale:
            return feedback
        return replace(feedback, rationale=clean(feedback.rationale))
    assert type(feedback) is Correction
    return Correction(
        clean(feedback.before),
        clean(feedback.after),
        clean(feedback.explanation) if feedback.explanation else "",
        feedback.distance,
    )


def _clean_tree(value: Any, clean: Callable[[str], str], name: str = "") -> Any:
    if isinstance(value, str):
        return clean(value) if name in FREE_TEXT and value else value
    if isinstance(value, dict):
        return {inner: _clean_tree(v, clean, inner) for inner, v in value.items()}
    if isinstance(value, list):
        return [_clean_tree(v, clean, name) for v in value]
    return value


def _added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {kind: a.get(kind, 0) + b.get(kind, 0) for kind in {**a, **b}}


class Recall(Protocol):
    """What was said before."""

    def contradicts(self, tenant_id: str, person: str, *, about: Any, is_up: bool) -> bool:
        """Say whether the person said the opposite about the same thing, and remember this."""
        ...

    def is_behind(self, tenant_id: str, session_id: str, at_ms: int) -> bool:
        """Say whether the session has gone on since `at_ms`, and remember this."""
        ...


def enrich(
    drafts: Sequence[Draft],
    persons: Mapping[str, Person],
    *,
    tenant_id: str,
    received_ms: int,
    hide_address: Callable[[str], str],
    recall: Recall,
) -> int:
    """Put pseudonyms in place of people and addresses, measure corrections, and flag what is odd.

    Return how many drafts say anything more than before.
    """
    changed = 0
    for draft in drafts:
        feedback, note = draft.feedback, draft.note
        user, address = draft.user_id, draft.address
        flags = _untimely(draft, tenant_id, received_ms, recall) if draft.is_dated else ()
        person = None
        if user is not None:
            person = persons[user].id
            if type(feedback) is Rating:
                flags += _contradicting(draft.target, feedback, tenant_id, person, recall)
            elif draft.interaction is not None:
                draft.interaction = replace(draft.interaction, person=person)
            elif draft.step is not None:
                draft.step = replace(draft.step, person=person)
        if address is not None:
            address = hide_address(address)
        says_more = person is not None or address is not None or bool(flags)
        if says_more:
            draft.note = replace(note, person=person, address=address, flags=note.flags + flags)
        if type(feedback) is Correction:
            if feedback.distance is None:
                draft.feedback = _measured(feedback)
                says_more = True
        elif type(feedback) is Annotation:
            judge = draft.reviewer_id
            reviewer = person or "" if judge is None else persons[judge].id
            draft.feedback = replace(feedback, reviewer=reviewer)
            says_more = True
        changed += says_more
    return changed


def _untimely(draft: Draft, tenant_id: str, received_ms: int, recall: Recall, /) -> Flags:
    at_ms, decision = draft.note.occurred_at_ms, draft.target.decision
    flags: Flags = ()
    if at_ms > received_ms + AHEAD_MS:
        flags += ("clock_ahead",)
    if decision is not None and at_ms < decision.decided_at_ms:
        flags += ("before_decision",)
    session_id = draft.target.session_id
    if session_id is not None and recall.is_behind(tenant_id, session_id, at_ms):
        flags += ("out_of_order",)
    return flags


def _contradicting(
    target: Target, rating: Rating, tenant_id: str, person: str, recall: Recall, /
) -> Flags:
    satisfaction = rating.satisfaction
    if satisfaction != 0.5 and recall.contradicts(
        tenant_id, person, about=reference(target), is_up=satisfaction > 0.5
    ):
        return ("contradiction",)
    return ()


Flags = tuple[str, ...]


def _measured(correction: Correction) -> Correction:
    try:
        distance = edit_distance(correction.before, correction.after)
    except Invalid:  # too long to be compared; the texts are kept all the same
        return correction
    return replace(correction, distance=distance)


def classify(drafts: Worded, *, categories: Classifier, sentiments: Classifier) -> int:
    """Note what a comment is about, unless the sender said so, and how its writer feels.

    It is the last of those that read texts: it puts their changes into the notes. Return how many drafts had a
    comment.
    """
    commented = 0
    for draft, changes in drafts:
        note = draft.note
        text = changes.get("message", note.message)
        if not text and type(draft.feedback) is Correction:
            text = draft.feedback.explanation
        if text:
            commented += 1
            changes["sentiment"] = sentiments.classify(text).mood
            if note.category is None:
                _categorise(categories.classify(text), changes)
        if changes:
            draft.note = replace(note, **changes)
    return commented


def _categorise(scores: Scores, changes: Changes) -> None:
    label = scores.label
    if scores.probabilities[label] >= LEAST_SHARE:
        changes["category"] = label
        changes["category_by"] = "rules" if scores.version.startswith("rules-") else "model"


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
    """Return the facts of each finished draft; an interaction brings what came inside it.

    What a decision's reward can be computed from is followed by that reward, unless the person's own word, or else
    the consent of the fact, does not allow to train.
    """
    own_word: dict[str | None, Sequence[str]] = {
        id: person.consent for id, person in persons.items() if person.consent is not None
    }
    made: list[Keyed] = []
    for draft, identity in zip(drafts, identities, strict=True):
        feedback, note, decision = draft.feedback, draft.note, draft.target.decision
        experiment = None if decision is None else find(tenant_id, decision.experiment_id)
        spec = None if experiment is None else experiment.reward
        taught = spec if "train" in own_word.get(draft.user_id, note.consent) else None
        if feedback is not None:
            made.append(_reported(draft, feedback, note, identity, tenant_id, received_ms, taught))
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
    decision = draft.target.decision
    assert draft.interaction is not None
    made: list[tuple[Any, bytes]] = [
        (Interacted(event_id, received_ms, tenant_id, draft.interaction), key)
    ]
    for n, also in enumerate(draft.also, 1):
        note = replace(draft.note, wire=also.wire)
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
    """Return a fact, and behind it the reward that is computed from it, if `taught` says that there may be one."""
    event_id, key, _ = identity
    target = draft.target
    decision = target.decision
    rewards: Keyed | None = None
    if decision is not None and taught is not None and note.quarantined is None:
        earned = _earned(feedback, taught)
        if earned is not None:
            try:
                normalise(taught, earned.value)
            except RewardInvalid:  # the reward was not asked for; what was said is kept
                note = replace(note, flags=(*note.flags, "reward_out_of_range"))
            else:
                # The key of a plain reward: the log keeps as many as the experiment counts.
                reward = Received(event_id, received_ms, decision, earned, derived=True)
                reward_id = identity_of(taught, earned.metric, event_id)
                rewards = [(reward, reward_key(decision.id, reward_id))]
    fact = Reported(event_id, received_ms, tenant_id, target, feedback, note)
    return ((fact, key), *rewards) if rewards else ((fact, key),)


def _earned(feedback: Feedback, spec: RewardSpec) -> Outcome | None:
    """Return the experiment's metric in feedback that is no outcome; an outcome is learned as it is."""
    if type(feedback) is Outcome:
        return None
    found = metric_of(feedback)
    return Outcome(*found) if found is not None and found[0] == spec.metric else None


def _name(draft: Draft, new_id: Callable[[], str]) -> None:
    """Give an interaction or a step an id where the product has none."""
    call, step = draft.interaction, draft.step
    if call is not None and not call.id:
        made = new_id()
        draft.interaction = replace(call, id=made)
        draft.target = replace(draft.target, output_id=made)
    elif step is not None and not step.id:
        draft.step = replace(step, id=new_id())
