"""How many facts each tenant sent by day, and how many bytes its facts have: counted from the event log.

A projection with an offset of its own, so the figures survive a crash and are counted once. It is brought up to date in
quiet moments, and whenever a figure is asked for.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from loopwright.catalog import Counted
from loopwright.core import upcast
from loopwright.core.clock import Clock
from loopwright.core.events import Fact, is_sent
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema
from loopwright.eventlog import Consumers, Reader

CONSUMER: Final = "usage"
DAY_MS: Final = 86_400_000
_CHUNK: Final = 10_000
_SCHEMA: Final = (
    (
        """
    CREATE TABLE usage (
        tenant_id TEXT NOT NULL,
        day BIGINT NOT NULL,
        events BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        PRIMARY KEY (tenant_id, day)
    )
    """,
    ),
)


class UsageCount:
    """The facts and bytes of each tenant and day, by the time of the facts (UTC)."""

    def __init__(
        self, reader: Reader, *, database: Database, consumers: Consumers, clock: Clock
    ) -> None:
        self._reader = reader
        self._database = database
        self._consumers = consumers
        self._now_ms = clock.now_ms
        # One run at a time: two would count the same facts, and the position would refuse the second.
        self._running = threading.Lock()
        apply_schema(database, "usage", _SCHEMA)
        # Registered, so that the log is not trimmed before these facts are counted.
        consumers.register(CONSUMER)

    def run(self, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """Count what the log has that is not counted yet; return how many facts there were."""
        total = 0
        with self._running:
            after: int = self._consumers.position(CONSUMER)
            if not self._reader.wait(after, 0):
                return 0
            # One pass for all chunks: a sealed segment is decoded once, also when an old folder is counted at first.
            facts = self._reader.replay(after)
            while not stopping() and (found := list(islice(facts, _CHUNK))):
                self._store(found)
                total += len(found)
        return total

    def counted(self, tenant_id: str) -> Counted:
        """Return what the log holds of a tenant by now."""
        self.run()
        today = self._now_ms() // DAY_MS
        [(events, stored)] = self._database.query(
            "SELECT coalesce(sum(CASE WHEN day = ? THEN events ELSE 0 END), 0), coalesce(sum(bytes), 0) "
            "FROM usage WHERE tenant_id = ?",
            (today, tenant_id),
        )
        return Counted(int(events), int(stored))

    def stored_bytes(self, tenant_id: str) -> int:
        """Return how many bytes were counted so far."""
        rows = self._database.query(
            "SELECT coalesce(sum(bytes), 0) FROM usage WHERE tenant_id = ?", (tenant_id,)
        )
        return int(rows[0][0])

    def _store(self, found: Sequence[tuple[int, Fact]]) -> None:
        """Add facts to the count and advance the position, in one transaction."""
        cells: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        for _, fact in found:
            cell = cells[fact.tenant_id, fact.at_ms // DAY_MS]
            cell[0] += is_sent(fact)
            # Encoded alone: a batch mixes tenants, and its size is no sum of theirs.
            cell[1] += len(upcast.encode([fact]))
        with self._database.transaction() as session:
            session.executemany(
                "INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT (tenant_id, day) DO UPDATE SET "
                "events = usage.events + excluded.events, bytes = usage.bytes + excluded.bytes",
                [(*at, *cell) for at, cell in cells.items()],
            )
            self._consumers.advance(session, CONSUMER, found[-1][0])
