"""Snapshots in a database, for doors in other processes than the learner: SQLite on one machine, or PostgreSQL."""

from __future__ import annotations

import threading
import time
from typing import Final

from loopwright.core.ports import Database, SnapshotKey, Versioned
from loopwright.core.schema import apply_schema

POLL_S: Final = 0.02
"""Rest between two looks for something new. A look reads one entry of an index: tens of microseconds."""

_SCHEMA: Final = (
    (
        "CREATE TABLE newest (tenant_id TEXT NOT NULL, name TEXT NOT NULL, epoch BIGINT NOT NULL, "
        "version BIGINT NOT NULL, place BIGINT NOT NULL, value BYTEA NOT NULL, "
        "PRIMARY KEY (tenant_id, name))",
        "CREATE INDEX newest_place ON newest (place)",
    ),
)
_HEAD: Final = "SELECT coalesce(max(place), 0) FROM newest"


class DatabaseSnapshotStore:
    """The newest value of each key as a row. Watching polls, since SQLite tells no other process of a commit.

    It owns `database`, and closes it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._closing = threading.Event()
        # Held for each look, so that the database is never closed in the middle of one.
        self._looking = threading.Lock()
        apply_schema(database, "snapshots", _SCHEMA)

    def put(self, key: SnapshotKey, snapshot: Versioned) -> bool:
        """Store `snapshot`; False, changing nothing, when a newer one is there."""
        with self._database.transaction() as session:
            # Transactions take turns, and a row only ever moves to a greater place: no place is given twice.
            place = int(session.query(_HEAD)[0][0]) + 1
            # The comparison is part of the statement, so a learner that was too slow cannot bring back an old state.
            stored = session.execute(
                "INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, name) DO UPDATE SET "
                "epoch = excluded.epoch, version = excluded.version, place = excluded.place, "
                "value = excluded.value WHERE newest.epoch < excluded.epoch "
                "OR (newest.epoch = excluded.epoch AND newest.version <= excluded.version)",
                (*key, snapshot.epoch, snapshot.version, place, snapshot.value),
            )
            return stored > 0

    def get(self, key: SnapshotKey) -> Versioned | None:
        """Return the newest value of `key`."""
        rows = self._database.query(
            "SELECT epoch, version, value FROM newest WHERE tenant_id = ? AND name = ?", key
        )
        return Versioned(*rows[0]) if rows else None

    def watch(self, after: int, *, timeout_s: float) -> tuple[int, list[SnapshotKey]]:
        """Wait until something was put after `after`; return the newest place and the keys put since."""
        until = time.monotonic() + timeout_s
        while True:
            with self._looking:
                if self._closing.is_set():
                    break
                head = int(self._database.query(_HEAD)[0][0])
                if head != after:
                    return self._since(after if after <= head else 0)
            rest_s = until - time.monotonic()
            if rest_s <= 0:
                break
            self._closing.wait(min(rest_s, POLL_S))
        return after, []

    def close(self) -> None:
        """End every wait and close the database."""
        self._closing.set()
        with self._looking:
            self._database.close()

    def _since(self, after: int) -> tuple[int, list[SnapshotKey]]:
        rows = self._database.query(
            "SELECT place, tenant_id, name FROM newest WHERE place > ? ORDER BY place", (after,)
        )
        return (int(rows[-1][0]) if rows else after), [(tenant, name) for _, tenant, name in rows]
