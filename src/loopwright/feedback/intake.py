"""Intake of every kind of feedback in two verbs: `prepare` a body, append its facts, `settle` the result.

Appending lies between the two and is the caller's, so HTTP handlers wait for the log on the event loop and embedded
use waits on its own thread. Refused items go to the quarantine with the reason. A fact may refer to something unknown:
it is stored at once, and the warehouse joins it later.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import BodyMalformed, Invalid, LoopError, QuotaExceeded
from loopwright.core.events import Fact
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.people import People, Person, RawCopies
from loopwright.people.consent import require_store

from .batches import raw_items
from .draft import Draft
from .originals import originals
from .pipeline import Pipeline
from .prepared import Prepared, Refusal, Understood
from .quarantine import Quarantine, RefusedItem, replayable
from .results import Results, results_of
from .rewards import BATCH_LIMIT
from .routing import TopicCounts
from .shield import known_person, lenient, shield, shielded_reason
from .stages.facts import Keyed
from .wire import decoded, malformed

Take = Callable[[str, Sequence[Fact]], None]
"""Reserves room in a tenant's quota for the facts of one item; raises `QuotaExceeded`."""


class TypedIntake:
    """Takes bodies of any shape to facts. Safe to use from several threads."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        people: People,
        quarantine: Quarantine,
        clock: Clock,
        ids: Ids,
        raw: RawCopies | None = None,
        take: Take | None = None,
    ) -> None:
        """`take` reserves room for an item's facts in its tenant's quota; it raises when there is none."""
        self.pipeline = pipeline
        self.people = people
        self.quarantine = quarantine
        self.topics = TopicCounts()
        self.ratings = {"accepted": 0, "error": 0}
        """Items of the rating route by what became of them; a duplicate is accepted."""
        self.raw = raw
        self.without_consent = 0
        """Items refused because consent does not allow to store; nothing of them was kept."""
        self._now_ms = clock.now_ms
        self._ids = ids
        self._take = take
        # The pipeline's counters and memory are plain Python objects: one body at a time may change them.
        self._lock = threading.Lock()

    def prepare(self, tenant_id: str, path: str, content: bytes | Sequence[Any]) -> Prepared:
        """Return the facts of a body, or of a batch of items that are Python objects.

        A body is one item, or `{"items": […]}` with up to a thousand. Refused items are in `refusals` and in the
        quarantine. Raises `BodyMalformed` or `Invalid` when the body as a whole cannot be read. It may wait for the
        disk; the same as `finish` of `understand`.
        """
        return self.finish(self.understand(tenant_id, path, content))

    def settle(self, prepared: Prepared, committed: Committed) -> Results:
        """Count what was stored, keep raw copies, and return the answer.

        Raises the `LoopError` of a single item that was refused. It waits for the disk only when there are `originals`.
        """
        if self.raw is not None and prepared.originals:
            duplicates = committed.duplicates
            self.raw.keep(prepared.tenant_id, prepared.originals, duplicates=duplicates)
        if prepared.facts:
            self._count_stored(prepared, committed)
        return results_of(prepared, committed)

    def replay(self, tenant_id: str, id: str) -> Prepared:
        """Prepare a quarantined item again; discard it once its facts are durable.

        Raises `NotFound`, or `Invalid` when the quarantine has only a part of it.
        """
        held = self.quarantine.read(tenant_id, id)
        items = [replayable(held)]
        return self.finish(
            self._read(tenant_id, held.path, items=items, is_batch=False, is_replay=True)
        )

    def understand(self, tenant_id: str, path: str, content: bytes | Sequence[Any]) -> Understood:
        """Read and validate a body without waiting for anything; raises like `prepare`."""
        if not isinstance(content, bytes):
            return self._read(tenant_id, path, items=content, are_objects=True)
        try:
            items: Sequence[Any] = raw_items(content)
        except msgspec.ValidationError:
            # JSON but no batch: one item, or a batch that holds something else as well.
            item = decoded(content)
            if isinstance(item, dict) and "items" in item:
                raise Invalid(
                    f'a batch is {{"items": […]}} with 1 to {BATCH_LIMIT} items and nothing else',
                    expected=BATCH_LIMIT,
                ) from None
            return self._read(tenant_id, path, items=[item], is_batch=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error) from None
        return self._read(tenant_id, path, items=items)

    def waits(self, understood: Understood) -> bool:
        """Say whether `finish` will wait for the disk or for another machine, so that it belongs on a thread.

        It does for users who are new, for items to quarantine, and for a classifier behind a network.
        """
        return (
            bool(understood.errors)
            or self.pipeline.asks_others
            or not self.people.has_cached(understood.tenant_id, understood.user_ids)
        )

    def finish(self, understood: Understood) -> Prepared:
        """Take what was understood to facts."""
        tenant_id, received_ms = understood.tenant_id, understood.received_ms
        refusals = {place: Refusal(error, "validate") for place, error in understood.errors.items()}
        key = self.people.key(tenant_id)
        persons = self._persons(understood)
        with self._lock:
            valid = self._allowed(understood.valid, persons, refusals)
            made = self.pipeline.finish(
                [draft for _, draft in valid],
                persons,
                tenant_id=tenant_id,
                received_ms=received_ms,
                key=key,
                is_replay=understood.is_replay,
            )
            if understood.path == "rating":
                self.ratings["accepted"] += len(understood.items) - len(refusals)
                self.ratings["error"] += len(refusals)
        if self._take is not None:
            # The last stage before the log: a quota counts facts, and only now is known how many each item
            # makes.
            valid, made = _within_quota(self._take, tenant_id, valid, made, refusals)
        prepared = Prepared(
            tenant_id=tenant_id,
            size=len(understood.items),
            is_batch=understood.is_batch,
            refusals=refusals,
        )
        for (place, draft), keyed in zip(valid, made, strict=True):
            if draft.feedback is None and draft.note.flags:
                prepared.flags[place] = draft.note.flags
            for fact, fact_key in keyed:
                prepared.facts.append(fact)
                prepared.keys.append(fact_key)
                prepared.places.append(place)
        # A replay is in the quarantine already.
        if understood.is_replay:
            return prepared
        if self.raw is not None:
            prepared.originals.extend(
                originals(understood, drafts=valid, made=made, persons=persons)
            )
        if refusals:
            self._quarantine(understood, refusals)
        return prepared

    def _read(
        self,
        tenant_id: str,
        path: str,
        *,
        items: Sequence[Any],
        is_batch: bool = True,
        is_replay: bool = False,
        are_objects: bool = False,
    ) -> Understood:
        """Read and validate items: Python objects, or JSON not yet decoded.

        A replay takes items as the quarantine keeps them, with pseudonyms in place of user ids and addresses.
        """
        received_ms = self._now_ms()
        with self._lock:
            valid, errors = self.pipeline.validate(
                items,
                path,
                tenant_id=tenant_id,
                received_ms=received_ms,
                are_objects=are_objects,
            )
        # Each person once for the whole body, since resolving a new one waits for the disk.
        named = {draft.user_id for _, draft in valid}
        named.update([draft.reviewer_id for _, draft in valid if draft.reviewer_id])
        return Understood(
            tenant_id=tenant_id,
            path=path,
            items=items,
            valid=valid,
            errors=errors,
            user_ids=[id for id in named if id is not None],
            received_ms=received_ms,
            is_batch=is_batch,
            is_replay=is_replay,
        )

    def _persons(self, understood: Understood) -> dict[str, Person]:
        tenant_id, user_ids = understood.tenant_id, understood.user_ids
        if not understood.is_replay:
            return self.people.resolve(tenant_id, user_ids)
        known = {id: known_person(id) for id in user_ids}
        found = self.people.resolve(tenant_id, [id for id, person in known.items() if not person])
        return found | {
            id: self.people.find(tenant_id, person) for id, person in known.items() if person
        }

    def _allowed(
        self,
        drafts: list[tuple[int, Draft]],
        persons: Mapping[str, Person],
        refusals: dict[int, Refusal],
    ) -> list[tuple[int, Draft]]:
        """Return the drafts of people whose consent allows to store; the others are added to `refusals`."""
        # Most people have never said anything about consent, so most bodies need no second look.
        if not any(person.consent is not None for person in persons.values()):
            return drafts
        allowed: list[tuple[int, Draft]] = []
        for place, draft in drafts:
            try:
                require_store(
                    *[persons[id].consent for id in (draft.user_id, draft.reviewer_id) if id]
                )
            except LoopError as error:
                self.pipeline.counters["enrich"].refused += 1
                refusals[place] = Refusal(error, "enrich")
                continue
            allowed.append((place, draft))
        return allowed

    def _count_stored(self, prepared: Prepared, committed: Committed) -> None:
        counters = self.pipeline.counters
        fresh = prepared.facts
        if any(committed.duplicates):
            facts = zip(prepared.facts, committed.duplicates, strict=True)
            fresh = [fact for fact, duplicate in facts if not duplicate]
        with self._lock:
            append, route = counters["append"], counters["route"]
            append.seen += len(prepared.facts)
            append.changed += len(fresh)
            append.refused += len(prepared.facts) - len(fresh)
            route.seen += len(fresh)
            route.changed += self.topics.count(fresh)

    def _quarantine(self, understood: Understood, refusals: dict[int, Refusal]) -> None:
        """Put refused items into the quarantine, except those whose consent forbids to store them."""
        tenant_id = understood.tenant_id
        items: list[RefusedItem] = []
        for place, refusal in refusals.items():
            error = refusal.error
            if error.detail.get("expected") == "store":
                self.without_consent += 1
                continue
            # The sender has it and is told when to send it again; keeping it would get around the quota.
            if isinstance(error, QuotaExceeded):
                continue
            item, is_changed = _keepable(understood.items[place], error)
            key, redactor = self.people.key(tenant_id), self.pipeline.redactor
            shielded = shield(
                item,
                key=key,
                redactor=redactor,
                resolve=lambda ids: self.people.resolve(tenant_id, ids),
            )
            id = self._ids()
            refusals[place] = Refusal(error, refusal.stage, id)
            items.append(
                RefusedItem(
                    id=id,
                    received_ms=understood.received_ms,
                    path=understood.path,
                    stage=refusal.stage,
                    code=error.code,
                    reason=shielded_reason(error.message, shielded, key=key, redactor=redactor)[
                        :1000
                    ],
                    is_whole=shielded.is_whole and not is_changed,
                    persons=shielded.persons,
                    body=shielded.body,
                )
            )
        if items:
            self.quarantine.hold(tenant_id, items)


def _within_quota(
    take: Take,
    tenant_id: str,
    valid: Sequence[tuple[int, Draft]],
    made: Sequence[Keyed],
    refusals: dict[int, Refusal],
) -> tuple[list[tuple[int, Draft]], list[Keyed]]:
    """Return the items that the quota has room for, with their facts; the others are added to `refusals`."""
    kept: list[tuple[int, Draft]] = []
    kept_made: list[Keyed] = []
    for (place, draft), keyed in zip(valid, made, strict=True):
        try:
            take(tenant_id, [fact for fact, _ in keyed])
        except QuotaExceeded as error:
            refusals[place] = Refusal(error, "quota")
            continue
        kept.append((place, draft))
        kept_made.append(keyed)
    return kept, kept_made


def _keepable(item: Any, error: LoopError) -> tuple[Any, bool]:
    """Return a refused item as values that JSON can hold, and whether that changed it."""
    if isinstance(error, BodyMalformed):
        return lenient(bytes(item)), True
    if isinstance(item, msgspec.Raw):
        return decoded(item), False
    try:
        # Python objects may hold anything.
        text = json.dumps(item, default=repr, skipkeys=True)
    except (TypeError, ValueError, RecursionError):
        return {"cut": "objects that JSON cannot hold"}, True
    kept = lenient(text.encode())
    return kept, kept != item
