"""The answer to a body: the result of each item, once its facts are durable."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import EventConflict, LoopError
from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.ports import Committed
from loopwright.core.problem import document_of

from .prepared import Prepared, Refusal

NOTHING_STORED: Final = Committed(None, [])
"""The commit of a body without facts."""


class TypedAccepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Feedback that is durable; `duplicate` says that it was stored before and does not count again."""

    event_id: str
    duplicate: bool = False
    offset: int | None = None
    """Where the log keeps it; absent for a duplicate."""
    flags: tuple[str, ...] = ()
    """Names of oddities in the feedback; it is stored all the same."""
    id: str | None = None
    """The id of an interaction or a step, made by us where the product has none."""


class TypedResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The result of one item: the status it would have had alone, and the problem if it was refused."""

    status: int
    event_id: str = ""
    duplicate: bool = False
    offset: int | None = None
    flags: tuple[str, ...] = ()
    id: str | None = None
    problem: dict[str, Any] | None = None


class TypedBatch(msgspec.Struct, frozen=True):
    """The result of each item of a batch, in order."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[TypedResult]


class Results(msgspec.Struct, frozen=True):
    """The HTTP status of a body and the content of its answer."""

    status: int
    content: TypedAccepted | TypedBatch


def results_of(prepared: Prepared, committed: Committed) -> Results:
    """Return the answer to a body; raises the `LoopError` of a single item that was refused."""
    if not prepared.is_batch and prepared.refusals:
        raise _error_of(prepared.refusals[0])
    # The first fact speaks for its item.
    if not prepared.is_batch and 0 in committed.conflicts:
        raise _conflict_of(prepared.facts[0])
    results = _by_place(prepared, committed)
    if not prepared.is_batch:
        only = results[0]
        accepted = TypedAccepted(
            only.event_id, only.duplicate, only.offset, flags=only.flags, id=only.id
        )
        return Results(only.status, accepted)
    duplicates = sum([result.duplicate for result in results])
    rejected = sum([result.problem is not None for result in results])
    accepted_items = len(results) - duplicates - rejected
    return Results(200, TypedBatch(accepted_items, duplicates, rejected, results))


def _by_place(prepared: Prepared, committed: Committed) -> list[TypedResult]:
    results = [_PENDING] * prepared.size
    for place, refusal in prepared.refusals.items():
        error = _error_of(refusal)
        results[place] = TypedResult(error.status, problem=document_of(error))
    for n, (fact, place, offset) in enumerate(
        zip(prepared.facts, prepared.places, committed.offsets(), strict=True)
    ):
        # The first fact of an item speaks for it.
        if results[place] is _PENDING:
            flags = prepared.flags.get(place, ())
            if n in committed.conflicts:
                error = _conflict_of(fact)
                results[place] = TypedResult(error.status, problem=document_of(error))
            else:
                results[place] = _result(fact, offset, flags)
            if n in committed.known:
                results[place] = _known(results[place], committed.known[n].hex())
    return results


def stored_id(committed: Committed, place: int, event_id: str) -> str:
    """Return the event id of the fact at a place: for a repetition without an id of its own, that of the stored one."""
    held = committed.known.get(place)
    return event_id if held is None else held.hex()


def _known(result: TypedResult, event_id: str) -> TypedResult:
    """Return the result of a duplicate with the ids that the stored fact has; those of the item were made in vain."""
    id = event_id if result.id == result.event_id else result.id
    return replace(result, event_id=event_id, id=id)


def _conflict_of(fact: Fact) -> LoopError:
    assert isinstance(fact, Reported | Interacted | Stepped)
    return EventConflict(fact.event_id)


_PENDING: Final = TypedResult(0)


def _result(fact: Fact, offset: int | None, flags: tuple[str, ...]) -> TypedResult:
    if type(fact) is Reported:
        if offset is None:
            return TypedResult(200, fact.event_id, True, None, fact.note.flags)
        return TypedResult(201, fact.event_id, False, offset, fact.note.flags)
    assert isinstance(fact, Interacted | Stepped)
    id = fact.interaction.id if isinstance(fact, Interacted) else fact.step.id
    return TypedResult(
        200 if offset is None else 201, fact.event_id, offset is None, offset, flags, id
    )


def _error_of(refusal: Refusal) -> LoopError:
    """Return the error, with the id of the item in the quarantine."""
    if refusal.quarantine_id is not None:
        refusal.error.detail["quarantine_id"] = refusal.quarantine_id
    return refusal.error
