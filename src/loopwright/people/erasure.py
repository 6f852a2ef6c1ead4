"""Erasure: destroying the link from a user id to the facts about a person, and what the facts say.

It is noted as begun, in the people's database, before anything is deleted, and as finished after everything is. What a
crash interrupts is finished by `resume_erasures`; every step can be done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from loopwright.core.events import Erased

from .consent import Append, Forget
from .people import People
from .pseudonyms import event_id_of
from .scrubbing import Erasing

CountRows = Callable[[str, str, Sequence[str]], Mapping[str, int]]
"""Returns, for a tenant, a person and the units of theirs, how many rows of each table are about them."""

Scrub = Callable[[Erasing], int]
"""Takes what is said about a person out of the log and of everything made from it; returns how many facts changed."""


class Erasure(msgspec.Struct, frozen=True):
    """What was deleted when a person was erased. `rows` counts by table; the projections drop those rows.

    `quarantined` and `raw_copies` are deleted, and so is the key of the raw copies.
    """

    person: str
    erased_at_ms: int
    rows: dict[str, int]
    quarantined: int
    offset: int | None
    """Where the log records the erasure; None when an earlier request recorded it."""
    raw_copies: int = 0
    facts: int = 0
    """Facts in the log that were rewritten, so that only numbers which were learned from are left of them."""


def erase_person(
    people: People,
    append: Append,
    *,
    tenant_id: str,
    id: str,
    count_rows: CountRows,
    forget_quarantined: Forget,
    at_ms: int,
    forget_raw: Forget | None = None,
    scrub: Scrub | None = None,
) -> Erasure:
    """Erase a person by user id or pseudonym and return what was deleted; raises `NotFound`.

    `id` may also be that of a unit without feedback. A request that failed in between can be repeated, and is
    finished by `resume_erasures` otherwise.
    """

    def is_unit(tenant_id: str, ids: Sequence[str]) -> bool:
        return any(count_rows(tenant_id, "", ids).values())

    erasing = people.begin_erasure(tenant_id, id, is_unit=is_unit, at_ms=at_ms)
    # Counted first: once the log has the fact, projections drop the rows at any moment.
    rows = dict(sorted(count_rows(tenant_id, erasing.person, erasing.ids).items()))
    return _carry_out(
        people,
        append,
        erasing,
        rows=rows,
        forget_quarantined=forget_quarantined,
        forget_raw=forget_raw,
        scrub=scrub,
    )


def resume_erasures(
    people: People,
    append: Append,
    *,
    forget_quarantined: Forget,
    forget_raw: Forget | None,
    scrub: Scrub,
) -> int:
    """Finish the erasures that were begun and interrupted; return how many."""
    begun = people.erasures()
    for erasing in begun:
        _carry_out(
            people,
            append,
            erasing,
            rows={},
            forget_quarantined=forget_quarantined,
            forget_raw=forget_raw,
            scrub=scrub,
        )
    return len(begun)


def _carry_out(
    people: People,
    append: Append,
    erasing: Erasing,
    *,
    rows: dict[str, int],
    forget_quarantined: Forget,
    forget_raw: Forget | None,
    scrub: Scrub | None,
) -> Erasure:
    """Do every step that is left; the log records it first, and the note that it was begun goes last."""
    tenant_id, person = erasing.tenant_id, erasing.person
    event_id = event_id_of(people.key(tenant_id), "erase", person)
    fact = Erased(event_id, erasing.at_ms, tenant_id, person, {"rows": rows})
    # Eight zero bytes stand for a time: the key must be the same whenever the request is repeated.
    committed = append([fact], [bytes(8) + bytes.fromhex(event_id)])
    quarantined = forget_quarantined(tenant_id, person)
    raw = 0 if forget_raw is None else forget_raw(tenant_id, person)
    # Before the facts are scrubbed: what comes in from now on is about a new person.
    people.erase(tenant_id, person)
    facts = 0 if scrub is None else scrub(erasing)
    people.end_erasure(erasing)
    return Erasure(person, erasing.at_ms, rows, quarantined, committed.first_offset, raw, facts)
