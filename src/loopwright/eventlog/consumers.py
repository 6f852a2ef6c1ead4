"""How far each named consumer of the log has come.

A position is stored beside the tables of its consumer and advances in the same transaction, so each fact takes
effect exactly once, wherever a crash comes.
"""

from __future__ import annotations

from loopwright.core.errors import StaleVersion
from loopwright.core.ports import Database, Offset, Session
from loopwright.core.schema import apply_schema

_SCHEMA = (("CREATE TABLE consumers (name TEXT PRIMARY KEY, position BIGINT NOT NULL)",),)


class Consumers:
    """Positions of named consumers in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        apply_schema(database, "consumers", _SCHEMA)

    def register(self, name: str) -> Offset:
        """Make `name` known, at position 0 if it is new, so that nothing it needs is trimmed; return its position."""
        with self._database.transaction() as session:
            session.execute(
                "INSERT INTO consumers VALUES (?, 0) ON CONFLICT (name) DO NOTHING", (name,)
            )
        return self.position(name)

    def position(self, name: str) -> Offset:
        """Return the offset through which `name` has consumed; 0 when it is unknown."""
        rows = self._database.query("SELECT position FROM consumers WHERE name = ?", (name,))
        return Offset(int(rows[0][0]) if rows else 0)

    def advance(self, session: Session, name: str, offset: int) -> None:
        """Record, within the consumer's own transaction, that `name` has consumed through `offset`.

        Raises `StaleVersion` when it had already come further: another process consumes under that name.
        """
        # One statement compares and writes, so no second process comes between. An equal position passes: a run
        # that found nothing new may say so.
        moved = session.execute(
            "INSERT INTO consumers VALUES (?, ?) ON CONFLICT (name) "
            "DO UPDATE SET position = excluded.position WHERE consumers.position <= excluded.position",
            (name, offset),
        )
        if not moved:
            raise StaleVersion(
                f"consumer {name!r} is already beyond offset {offset}: is it running twice?",
                expected=offset,
            )

    def forget(self, name: str) -> None:
        """Drop `name`: trimming no longer waits for it, and if it returns it begins at 0."""
        with self._database.transaction() as session:
            session.execute("DELETE FROM consumers WHERE name = ?", (name,))

    def slowest(self) -> Offset:
        """Return the least position; 0 when no consumer is registered: then nothing is known to be consumed."""
        # The minimum of no rows is NULL. Position 0 then keeps the whole log, which is the safe side.
        rows = self._database.query("SELECT min(position) FROM consumers")
        return Offset(int(rows[0][0] or 0))
