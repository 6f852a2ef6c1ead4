"""Erasure: destroying the link from a user id to the facts about a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from loopwright.core.events import Erased

from .consent import Append, Forget
from .people import People
from .pseudonyms import event_id_of

CountRows = Callable[[str, str], Mapping[str, int]]
"""Returns, for a tenant and a person, how many rows of each table are about them."""


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
) -> Erasure:
    """Erase a person by user id or pseudonym and return what was deleted; raises `NotFound`.

    The log records it first and the link is destroyed last, so a request that failed in between can be repeated.
    """
    person = people.find(tenant_id, id).id
    # Counted first: once the log has the fact, projections drop the rows at any moment.
    rows = dict(sorted(count_rows(tenant_id, person).items()))
    event_id = event_id_of(people.key(tenant_id), "erase", person)
    fact = Erased(event_id, at_ms, tenant_id, person, {"rows": rows})
    # Eight zero bytes stand for a time: the key must be the same whenever the request is repeated.
    committed = append([fact], [bytes(8) + bytes.fromhex(event_id)])
    quarantined = forget_quarantined(tenant_id, person)
    raw = 0 if forget_raw is None else forget_raw(tenant_id, person)
    people.erase(tenant_id, person)
    return Erasure(person, at_ms, rows, quarantined, committed.first_offset, raw)
