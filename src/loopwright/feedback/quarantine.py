"""The quarantine: items that intake refused, with the reason, so that they can be inspected, repaired and sent again.

Bodies are stored as `shield` returns them, without personal data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

from .shield import encode_body

CAPACITY: Final = 10_000
"""Items per tenant; more are dropped and counted."""

PAGE: Final = 100

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE quarantine (
        id TEXT PRIMARY KEY,
        tenant_id TEXT NOT NULL,
        received_ms BIGINT NOT NULL,
        path TEXT NOT NULL,
        stage TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        persons TEXT NOT NULL,
        whole BIGINT NOT NULL,
        body TEXT NOT NULL
    )
    """,
        "CREATE INDEX quarantine_by_tenant ON quarantine (tenant_id, id)",
        """
    CREATE TABLE quarantine_dropped (
        tenant_id TEXT PRIMARY KEY,
        dropped BIGINT NOT NULL
    )
    """,
    ),
)
"""Scripts for `apply_schema`, oldest first."""


class RefusedItem(msgspec.Struct, frozen=True, kw_only=True):
    """One refused item."""

    id: str
    received_ms: int
    path: str
    stage: str
    """The stage of intake that refused it."""
    code: str
    reason: str
    is_whole: bool = True
    """Whether the body is complete, so that it can be replayed."""
    persons: tuple[str, ...] = ()
    body: Any = None


class RefusedPage(msgspec.Struct, frozen=True):
    """Refused items, oldest first; `next_cursor` asks for more."""

    items: list[RefusedItem]
    held: int
    dropped: int
    """Items that were refused while the quarantine was full, and are lost."""
    next_cursor: str | None = None


class Quarantine:
    """Refused items of every tenant. Safe to use from several threads and processes."""

    def __init__(self, database: Database, *, capacity: int = CAPACITY) -> None:
        apply_schema(database, "quarantine", SCHEMA)
        self._database = database
        self._capacity = capacity

    def hold(self, tenant_id: str, items: Sequence[RefusedItem]) -> int:
        """Keep refused items while there is room; return how many were dropped."""
        with self._database.transaction() as session:
            # Writing the tenant's row locks it until the commit, so another process counts only after our insert:
            # two that count first and insert then would both find the last place free.
            session.execute(
                "INSERT INTO quarantine_dropped VALUES (?, 0) ON CONFLICT (tenant_id) "
                "DO UPDATE SET dropped = quarantine_dropped.dropped",
                (tenant_id,),
            )
            rows = session.query(
                "SELECT COUNT(*) FROM quarantine WHERE tenant_id = ?", (tenant_id,)
            )
            room = max(self._capacity - int(rows[0][0]), 0)
            session.executemany(
                "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(tenant_id, held) for held in items[:room]],
            )
            dropped = len(items) - min(room, len(items))
            if dropped:
                session.execute(
                    "UPDATE quarantine_dropped SET dropped = dropped + ? WHERE tenant_id = ?",
                    (dropped, tenant_id),
                )
        return dropped

    def list(self, tenant_id: str, *, after: str = "", limit: int = PAGE) -> RefusedPage:
        """Return items beyond the cursor `after`, without their bodies."""
        rows = self._database.query(
            f"{_COLUMNS} FROM quarantine WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?",
            (tenant_id, after, limit + 1),
        )
        held = self._database.query(
            "SELECT COUNT(*) FROM quarantine WHERE tenant_id = ?", (tenant_id,)
        )
        dropped = self._database.query(
            "SELECT dropped FROM quarantine_dropped WHERE tenant_id = ?", (tenant_id,)
        )
        items = [_item(row, None) for row in rows[:limit]]
        cursor = items[-1].id if len(rows) > limit else None
        return RefusedPage(items, int(held[0][0]), int(dropped[0][0]) if dropped else 0, cursor)

    def read(self, tenant_id: str, id: str) -> RefusedItem:
        """Return one item with its body; raises `NotFound`."""
        rows = self._database.query(
            f"{_COLUMNS}, body FROM quarantine WHERE tenant_id = ? AND id = ?", (tenant_id, id)
        )
        if not rows:
            raise NotFound(f"there is no refused item '{id}'; it was replayed or discarded")
        return _item(rows[0][:-1], rows[0][-1])

    def discard(self, tenant_id: str, id: str) -> None:
        """Delete one item; raises `NotFound`."""
        with self._database.transaction() as session:
            gone = session.execute(
                "DELETE FROM quarantine WHERE tenant_id = ? AND id = ?", (tenant_id, id)
            )
        if not gone:
            raise NotFound(f"there is no refused item '{id}'; it was replayed or discarded")

    def forget(self, tenant_id: str, person: str) -> int:
        """Delete the items about a person; return how many there were."""
        with self._database.transaction() as session:
            return session.execute(
                "DELETE FROM quarantine WHERE tenant_id = ? AND persons LIKE ?",
                (tenant_id, f"%{person}%"),
            )


_COLUMNS: Final = "SELECT id, received_ms, path, stage, code, reason, persons, whole"


def _row(tenant_id: str, held: RefusedItem) -> tuple[Any, ...]:
    body = encode_body(held.body)
    return (
        held.id,
        tenant_id,
        held.received_ms,
        held.path,
        held.stage,
        held.code,
        held.reason,
        ",".join(held.persons),
        int(held.is_whole),
        body,
    )


def _item(row: tuple[Any, ...], body: str | None) -> RefusedItem:
    id, received_ms, path, stage, code, reason, persons, whole = row
    return RefusedItem(
        id=id,
        received_ms=received_ms,
        path=path,
        stage=stage,
        code=code,
        reason=reason,
        is_whole=bool(whole),
        persons=tuple(name for name in persons.split(",") if name),
        body=None if body is None else json.loads(body),
    )


def replayable(held: RefusedItem) -> Any:
    """Return the body of an item to run through intake again; raises `Invalid` when it was cut."""
    if not held.is_whole:
        raise Invalid(
            "the item was too large to be kept whole, so it cannot be replayed; send it again, shorter"
        )
    return held.body
