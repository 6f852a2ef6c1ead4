"""Leases in a database, for holders on different machines."""

from __future__ import annotations

from loopwright.core.clock import Clock
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

_SCHEMA = (
    (
        # The epoch fences: a store that sees a lower epoch than before can refuse the write of a holder that
        # was too slow.
        "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, "
        "until_ms BIGINT NOT NULL)",
    ),
)


class DatabaseLease:
    """Leases as rows of a table; `holder` names this holder among all that share the table.

    A holder that dies is followed after its time by the clocks of the others: give more seconds than clocks differ.
    """

    def __init__(self, database: Database, clock: Clock, *, holder: str) -> None:
        self._database = database
        self._now_ms = clock.now_ms
        self._holder = holder
        apply_schema(database, "leases", _SCHEMA)

    def acquire(self, name: str, *, ttl_s: float) -> int | None:
        """Take the lease for `ttl_s` seconds; return its epoch, or None while another holds it."""
        now_ms = self._now_ms()
        with self._database.transaction() as session:
            # The row stays when a lease is released: its epoch is where the next one goes on.
            taken = session.execute(
                "INSERT INTO leases VALUES (?, ?, 1, ?) ON CONFLICT (name) DO UPDATE SET "
                "holder = excluded.holder, epoch = leases.epoch + 1, until_ms = excluded.until_ms "
                "WHERE leases.until_ms <= ?",
                (name, self._holder, now_ms + int(ttl_s * 1000), now_ms),
            )
            if not taken:
                return None
            rows = session.query("SELECT epoch FROM leases WHERE name = ?", (name,))
            return int(rows[0][0])

    def renew(self, name: str, epoch: int, *, ttl_s: float) -> bool:
        """Hold it for `ttl_s` seconds from now; False when it is lost: then stop at once."""
        now_ms = self._now_ms()
        with self._database.transaction() as session:
            kept = session.execute(
                # A lease that ran out is not renewed, even when nobody took it: its holder was too slow once,
                # and has to start over under a new epoch.
                "UPDATE leases SET until_ms = ? WHERE name = ? AND holder = ? AND epoch = ? AND until_ms > ?",
                (now_ms + int(ttl_s * 1000), name, self._holder, epoch, now_ms),
            )
            return kept > 0

    def release(self, name: str, epoch: int) -> None:
        """Let it go; nothing happens when it is already lost."""
        with self._database.transaction() as session:
            session.execute(
                # Name, holder and epoch together: a holder that lost its lease must not end that of its
                # successor, not even its own later one.
                "UPDATE leases SET until_ms = 0 WHERE name = ? AND holder = ? AND epoch = ?",
                (name, self._holder, epoch),
            )
