"""Intake of every kind of feedback: validate → deduplicate → redact → enrich → classify → append → route.

`TypedIntake.accept` takes a body to facts; appending them is the caller's next step, so HTTP and embedded use
share everything here. What is refused goes to the quarantine, with its reason. Nothing waits for what a fact
refers to: facts of unknown targets are stored at once and join later, in the warehouse.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.core.clock import Clock
from loopwright.core.decision import Decision
from loopwright.core.errors import BodyMalformed, Invalid, LoopError, TokenForeign
from loopwright.core.events import Fact
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.core.token import Signer
from loopwright.feedback.originals import originals
from loopwright.people import People, Person
from loopwright.people.consent import require_store
from loopwright.people.pseudonyms import address_pseudonym
from loopwright.people.raw import Original, RawCopies
from loopwright.texts.classify import Classifier
from loopwright.texts.redact import Redactor, Rules
from loopwright.texts.wordmemo import RememberedRules, Vocabulary, remembered_sentiment

from . import stages
from .draft import Draft, Verify
from .quarantine import Held, Quarantine, known_address, known_person, replayable, shield
from .routing import Router
from .service import BATCH_LIMIT
from .shapes import Path, malformed, plain

REMEMBERED: Final = 50_000
"""Votes and sessions that contradictions and order are judged against, each; the oldest are forgotten."""


class Counter(msgspec.Struct):
    """What one stage did: items it saw, items it changed, items it refused."""

    seen: int = 0
    changed: int = 0
    refused: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """An item that was refused, where, and under which id the quarantine has it, if it does."""

    error: LoopError
    stage: str
    quarantine_id: str | None = None


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A body that was understood, item by item, and not yet taken further."""

    tenant_id: str
    path: Path
    items: Sequence[Any]
    valid: list[tuple[int, Draft]]
    errors: dict[int, LoopError]
    user_ids: list[str]
    received_ms: int
    is_batch: bool
    is_replay: bool


class Prepared(msgspec.Struct, frozen=True):
    """What became of a body: facts to append under their keys, and refusals by place."""

    facts: list[Fact]
    keys: list[bytes]
    places: list[int]
    """For each fact, the place of its item in the body."""
    refusals: dict[int, Refusal]
    size: int
    """How many items the body had."""
    is_batch: bool
    originals: list[Original] = []
    """What to keep raw copies of, once the facts are durable."""


class Pipeline:
    """The stages with their counters. Not safe to use from several threads at once."""

    def __init__(
        self,
        signer: Signer,
        *,
        find: stages.Find,
        ids: Ids,
        redactor: Redactor | None = None,
        categories: Classifier | None = None,
        sentiments: Classifier | None = None,
    ) -> None:
        self.signer = signer
        self.asks_others = False
        """Whether a classifier or redactor waits for another machine: then it runs on a thread."""
        vocabulary = Vocabulary()
        self.categories = categories or RememberedRules(vocabulary=vocabulary)
        """What names the category; replace it by a trained classifier when there is one."""
        self.sentiments = sentiments or remembered_sentiment(vocabulary)
        self.redactor = redactor or Rules()
        self.counters: dict[str, Counter] = {
            name: Counter()
            for name in (
                "validate",
                "deduplicate",
                "redact",
                "enrich",
                "classify",
                "append",
                "route",
            )
        }
        self._find = find
        self._ids = ids
        self._recall = _Memory()

    def validate(
        self, items: Sequence[Any], path: Path, *, tenant_id: str, received_ms: int
    ) -> tuple[list[tuple[int, Draft]], dict[int, LoopError]]:
        """Understand and check items; return drafts and errors by the place of their item."""
        verify = _verifier(self.signer, tenant_id, received_ms)
        validate, find = stages.validate, self._find
        drafts: list[tuple[int, Draft]] = []
        errors: dict[int, LoopError] = {}
        flagged = 0
        for place, item in enumerate(items):
            try:
                draft = validate(item, path, tenant_id, received_ms, verify, find)
            except BodyMalformed:
                raise
            except LoopError as error:
                errors[place] = error
                continue
            flagged += bool(draft.note.flags)
            drafts.append((place, draft))
        self._count("validate", len(items), flagged, len(errors))
        return drafts, errors

    def finish(
        self,
        drafts: Sequence[Draft],
        persons: Mapping[str, Person],
        *,
        tenant_id: str,
        received_ms: int,
        key: bytes,
        is_replay: bool,
    ) -> list[stages.Keyed]:
        """Take valid drafts through the other stages; return the facts of each with their keys."""
        identities = stages.deduplicate(
            drafts, tenant_id=tenant_id, key=key, find=self._find, new_id=self._ids
        )
        worded = stages.worded(drafts)
        redacted = stages.redact(worded, redactor=self.redactor, key=key)
        enriched = stages.enrich(
            drafts,
            persons,
            tenant_id=tenant_id,
            received_ms=received_ms,
            hide_address=_hiding(key, is_replay=is_replay),
            recall=self._recall,
        )
        classified = stages.classify(worded, categories=self.categories, sentiments=self.sentiments)
        for stage, changed in (
            ("deduplicate", sum([derived for _, _, derived in identities])),
            ("redact", redacted),
            ("enrich", enriched),
            ("classify", classified),
        ):
            self._count(stage, len(drafts), changed)
        return stages.facts_of(
            drafts,
            identities,
            persons=persons,
            tenant_id=tenant_id,
            received_ms=received_ms,
            find=self._find,
        )

    def _count(self, stage: str, seen: int, changed: int, refused: int = 0) -> None:
        counter = self.counters[stage]
        counter.seen += seen
        counter.changed += changed
        counter.refused += refused


def _verifier(signer: Signer, tenant_id: str, now_ms: int) -> Verify:
    def verify(token: str) -> Decision:
        decision = signer.verify(token, now_ms=now_ms)
        if decision.tenant_id != tenant_id:
            raise TokenForeign("request_id was issued to another tenant; use that tenant's API key")
        return decision

    return verify


class _Memory:
    """What was said lately, as far as contradictions and order need it; a restart forgets it."""

    def __init__(self) -> None:
        # Ordered, because the oldest key of a plain dict is ever further behind those that were deleted.
        self._votes: OrderedDict[Any, bool] = OrderedDict()
        self._sessions: OrderedDict[Any, int] = OrderedDict()

    def contradicts(self, tenant_id: str, person: str, *, about: Any, is_up: bool) -> bool:
        key = (tenant_id, person, about)
        before = self._votes.pop(key, None)
        _remember(self._votes, key, is_up)
        return before is not None and before != is_up

    def is_behind(self, tenant_id: str, session_id: str, at_ms: int) -> bool:
        key = (tenant_id, session_id)
        latest = self._sessions.pop(key, at_ms)
        _remember(self._sessions, key, max(latest, at_ms))
        return at_ms < latest


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    if len(memory) >= REMEMBERED:
        memory.popitem(last=False)
    memory[key] = value


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=BATCH_LIMIT)]


_envelope: Final = msgspec.json.Decoder(_Envelope).decode


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
        router: Router | None = None,
        raw: RawCopies | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.people = people
        self.quarantine = quarantine
        self.router = router or Router()
        self.raw = raw
        self.without_consent = 0
        """Items refused because consent does not allow to store; nothing of them was kept."""
        self._now_ms = clock.now_ms
        self._ids = ids
        self._lock = threading.Lock()

    def accept(self, tenant_id: str, path: Path, *, body: bytes) -> Prepared:
        """Return the facts of a body: one item, or `{"items": […]}` with up to a thousand.

        Refused items are in `refusals` and in the quarantine. Raises `BodyMalformed` or `Invalid` when the body
        as a whole cannot be understood. The same as `begin` and `complete`.
        """
        return self.complete(self.begin(tenant_id, path, body=body))

    def begin(self, tenant_id: str, path: Path, *, body: bytes) -> Begun:
        """Understand and check a body, without waiting for anything; raises like `accept`."""
        try:
            items: Sequence[Any] = _envelope(body).items
        except msgspec.ValidationError:
            item = plain(body)
            if isinstance(item, dict) and "items" in item:
                raise Invalid(
                    f'a batch is {{"items": […]}} with 1 to {BATCH_LIMIT} items and nothing else',
                    expected=BATCH_LIMIT,
                ) from None
            return self.begin_items(tenant_id, path, items=[item], is_batch=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error) from None
        return self.begin_items(tenant_id, path, items=items)

    def begin_items(
        self,
        tenant_id: str,
        path: Path,
        *,
        items: Sequence[Any],
        is_batch: bool = True,
        is_replay: bool = False,
    ) -> Begun:
        """Understand and check items: Python objects, or JSON not yet decoded.

        A replay takes bodies as the quarantine keeps them, with pseudonyms, and does not hold them once more.
        """
        received_ms = self._now_ms()
        with self._lock:
            valid, errors = self.pipeline.validate(
                items, path, tenant_id=tenant_id, received_ms=received_ms
            )
        named = {draft.user_id for _, draft in valid}
        named.update([draft.reviewer_id for _, draft in valid if draft.reviewer_id])
        return Begun(
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

    def newcomers(self, begun: Begun) -> list[str]:
        """Return the users of a body that are not at hand: making them waits for the disk."""
        return (
            []
            if begun.is_replay
            else ([] if self.people.has_cached(begun.tenant_id, begun.user_ids) else begun.user_ids)
        )

    def complete(self, begun: Begun) -> Prepared:
        """Take what was understood to facts."""
        tenant_id, received_ms = begun.tenant_id, begun.received_ms
        prepared = Prepared([], [], [], {}, len(begun.items), begun.is_batch)
        refusals, valid = prepared.refusals, begun.valid
        for place, error in begun.errors.items():
            refusals[place] = Refusal(error, "validate")
        key = self.people.key(tenant_id)
        persons = self._persons(begun)
        with self._lock:
            if any(person.consent is not None for person in persons.values()):
                valid = self._allowed(valid, persons, refusals)
            facts = self.pipeline.finish(
                [draft for _, draft in valid],
                persons,
                tenant_id=tenant_id,
                received_ms=received_ms,
                key=key,
                is_replay=begun.is_replay,
            )
        for (place, _), keyed in zip(valid, facts, strict=True):
            for fact, fact_key in keyed:
                prepared.facts.append(fact)
                prepared.keys.append(fact_key)
                prepared.places.append(place)
        if self.raw is not None and not begun.is_replay:
            prepared.originals.extend(
                originals(
                    begun.path,
                    begun.items,
                    drafts=valid,
                    made=facts,
                    persons=persons,
                    received_ms=received_ms,
                )
            )
        if refusals and not begun.is_replay:
            self._hold(
                tenant_id,
                begun.path,
                items=begun.items,
                refusals=refusals,
                received_ms=received_ms,
            )
        return prepared

    def accept_items(self, tenant_id: str, path: Path, *, items: Sequence[Any]) -> Prepared:
        """Return the facts of a batch of Python objects."""
        return self.complete(self.begin_items(tenant_id, path, items=items))

    def _allowed(
        self,
        drafts: Sequence[tuple[int, Draft]],
        persons: Mapping[str, Person],
        refusals: dict[int, Refusal],
    ) -> list[tuple[int, Draft]]:
        """Return the drafts of people who let us store; the others are refused."""
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

    def committed(self, prepared: Prepared, committed: Committed) -> None:
        """Count what was stored and tell those who listen to its topics."""
        counters = self.pipeline.counters
        fresh = prepared.facts
        if any(committed.duplicates):
            said = zip(prepared.facts, committed.duplicates, strict=True)
            fresh = [fact for fact, duplicate in said if not duplicate]
        with self._lock:
            append, route = counters["append"], counters["route"]
            append.seen += len(prepared.facts)
            append.changed += len(fresh)
            append.refused += len(prepared.facts) - len(fresh)
            route.seen += len(fresh)
            route.changed += self.router.route(fresh)

    def replay(self, tenant_id: str, id: str) -> Prepared:
        """Run a quarantined item through intake again; discard it once its facts are durable.

        Raises `NotFound`, or `Invalid` when it was cut.
        """
        held = self.quarantine.read(tenant_id, id)
        item = replayable(held)
        path: Path = msgspec.convert(held.path, Path)
        return self.complete(
            self.begin_items(tenant_id, path, items=[item], is_batch=False, is_replay=True)
        )

    def _persons(self, begun: Begun) -> dict[str, Person]:
        tenant_id = begun.tenant_id
        if not begun.is_replay:
            return self.people.resolve(tenant_id, begun.user_ids)
        known = {id: known_person(id) for id in begun.user_ids}
        found = self.people.resolve(tenant_id, [id for id, person in known.items() if not person])
        return found | {
            id: self.people.find(tenant_id, person) for id, person in known.items() if person
        }

    def _hold(
        self,
        tenant_id: str,
        path: Path,
        *,
        items: Sequence[Any],
        refusals: dict[int, Refusal],
        received_ms: int,
    ) -> None:
        """Put refused items into the quarantine, but nothing of those that may not be stored."""
        held: list[Held] = []
        for place, refusal in refusals.items():
            error = refusal.error
            if error.detail.get("expected") == "store":
                self.without_consent += 1
                continue
            shielded = shield(
                plain(items[place]),
                key=self.people.key(tenant_id),
                redactor=self.pipeline.redactor,
                resolve=lambda ids: self.people.resolve(tenant_id, ids),
            )
            id = self._ids()
            refusals[place] = Refusal(error, refusal.stage, id)
            held.append(
                Held(
                    id=id,
                    received_ms=received_ms,
                    path=path,
                    stage=refusal.stage,
                    code=error.code,
                    reason=error.message[:1000],
                    is_whole=shielded.is_whole,
                    persons=shielded.persons,
                    body=shielded.body,
                )
            )
        if held:
            self.quarantine.hold(tenant_id, held)


def _hiding(key: bytes, *, is_replay: bool) -> Callable[[str], str]:
    """Return what makes pseudonyms of addresses; a replay brings some that are pseudonyms already."""
    if is_replay:
        return lambda address: known_address(address) or address_pseudonym(key, address)
    return partial(address_pseudonym, key)
