"""From a body to an answer: intake, commit, and what became of each item. Knows nothing of any web framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.errors import LoopError
from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.ports import Committed
from loopwright.core.problem import document_of
from loopwright.people.raw import Original, RawCopies

from .pipeline import Prepared, Refusal, TypedIntake
from .shapes import Path

INLINE_BYTES: Final = 65_536
"""Largest body that is worked on where requests are served; a larger one gets a thread."""

Append = Callable[[Sequence[Fact], Sequence[bytes | None]], Awaitable[Committed]]


class TypedAccepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Feedback that is durable; `duplicate` says it was known before and does not count again."""

    event_id: str
    duplicate: bool = False
    offset: int | None = None
    """Where the log keeps it; absent for a duplicate."""
    flags: tuple[str, ...] = ()
    """What was odd but kept."""
    id: str | None = None
    """Of an interaction or a step: its id, made by us where the product has none."""


class TypedResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one item: the status it would have had alone, and the problem if it was refused."""

    status: int
    event_id: str = ""
    duplicate: bool = False
    offset: int | None = None
    flags: tuple[str, ...] = ()
    id: str | None = None
    problem: dict[str, Any] | None = None


class TypedBatch(msgspec.Struct, frozen=True):
    """What became of each item of a batch, in order."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[TypedResult]


class Answer(msgspec.Struct, frozen=True):
    """A status and what to say with it."""

    status: int
    content: TypedAccepted | TypedBatch


async def answer(
    intake: TypedIntake, append: Append, *, tenant_id: str, path: Path, body: bytes
) -> Answer:
    """Take a body in, wait until its facts are durable, and answer.

    Raises the `LoopError` of a single item that is refused, with the id the quarantine has it under.
    """
    if len(body) > INLINE_BYTES:  # long work must not keep selects waiting
        prepared = await asyncio.to_thread(intake.accept, tenant_id, path, body=body)
    else:
        begun = intake.begin(tenant_id, path, body=body)
        if newcomers := intake.newcomers(begun):  # they wait for the disk
            await asyncio.to_thread(intake.people.resolve, tenant_id, newcomers)
        if intake.pipeline.asks_others:
            prepared = await asyncio.to_thread(intake.complete, begun)
        else:
            prepared = intake.complete(begun)
    if intake.raw is not None and prepared.originals:
        append = _keeping(intake.raw, append, tenant_id=tenant_id, originals=prepared.originals)
    return await finish(intake, append, prepared=prepared)


async def finish(intake: TypedIntake, append: Append, *, prepared: Prepared) -> Answer:
    """Append what was prepared and answer."""
    if not prepared.is_batch and prepared.refusals:
        raise _told(prepared.refusals[0])
    committed = Committed(None, [])
    if prepared.facts:
        committed = await append(prepared.facts, prepared.keys)
        intake.committed(prepared, committed)
    results = _results(prepared, committed)
    if not prepared.is_batch:
        only = results[0]
        accepted = TypedAccepted(
            only.event_id, only.duplicate, only.offset, flags=only.flags, id=only.id
        )
        return Answer(only.status, accepted)
    duplicates = sum([result.duplicate for result in results])
    rejected = len(prepared.refusals)
    return Answer(
        200, TypedBatch(len(results) - duplicates - rejected, duplicates, rejected, results)
    )


def _keeping(
    raw: RawCopies, append: Append, *, tenant_id: str, originals: Sequence[Original]
) -> Append:
    """Return an `append` that also keeps raw copies of what is new, before anything is answered."""

    async def append_and_keep(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        committed = await append(facts, keys)
        duplicates = committed.duplicates
        # It waits for the disk, so not where requests are served.
        await asyncio.to_thread(raw.keep, tenant_id, originals, duplicates=duplicates)
        return committed

    return append_and_keep


def _results(prepared: Prepared, committed: Committed) -> list[TypedResult]:
    told = [_PENDING] * prepared.size
    for place, refusal in prepared.refusals.items():
        error = _told(refusal)
        told[place] = TypedResult(error.status, problem=document_of(error))
    offset = committed.first_offset or 0
    for fact, place, duplicate in zip(
        prepared.facts, prepared.places, committed.duplicates, strict=True
    ):
        if told[place] is _PENDING:  # the first fact of an item speaks for it
            told[place] = _result(fact, None if duplicate else offset)
        offset += not duplicate
    return told


_PENDING: Final = TypedResult(0)


def _result(fact: Fact, offset: int | None) -> TypedResult:
    if type(fact) is Reported:
        if offset is None:
            return TypedResult(200, fact.event_id, True, None, fact.note.flags)
        return TypedResult(201, fact.event_id, False, offset, fact.note.flags)
    assert isinstance(fact, Interacted | Stepped)
    id = fact.interaction.id if isinstance(fact, Interacted) else fact.step.id
    return TypedResult(
        200 if offset is None else 201, fact.event_id, offset is None, offset, (), id
    )


def _told(refusal: Refusal) -> LoopError:
    """Return the error with the id that the quarantine has the item under."""
    if refusal.quarantine_id is not None:
        refusal.error.detail["quarantine_id"] = refusal.quarantine_id
    return refusal.error
