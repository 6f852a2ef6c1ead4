"""Facts about the catalog's own changes, on their way to the event log.

Two truths must not part: what the catalog's tables say and what the log says. So a change and the facts about it
are one transaction (the transactional outbox: Richardson, "Microservices Patterns", 2018, chapter 3), and a relay
appends the facts to the log in their order. A crash after the append and before the row is deleted repeats the
append under the same unique key, which the log takes for the duplicate that it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from loopwright.core import upcast
from loopwright.core.events import Fact
from loopwright.core.ids import Ids
from loopwright.core.ports import Database, Session

from . import store

Append = Callable[[Sequence[Fact], Sequence[bytes]], int]
"""Appends facts to the event log under unique keys; returns, once they are durable, an offset that is not below
theirs. Raises a `LoopError` when the log refuses them."""

_AT_ONCE: Final = 500
_SUFFIX: Final = b"control\0"
"""Makes keys of 24 bytes that begin with a time, as those of feedback do: the log's key index grows at its end."""


class Outbox:
    """Keeps facts in the catalog's database until the event log has them."""

    def __init__(self, database: Database, *, ids: Ids) -> None:
        self._database = database
        self._new_id = ids
        self._relaying = threading.Lock()
        self._through = 0

    def put(self, session: Session, *facts: Fact) -> None:
        """Keep `facts`, in their order, within the transaction of the change that they tell of."""
        rows = [
            (_id_of(fact) or self._new_id(), upcast.SCHEMA_VERSION, upcast.encode([fact]))
            for fact in facts
        ]
        store.add_to_outbox(session, rows)

    def relay(self, append: Append) -> int:
        """Append all that waits to the log and forget it here; return an offset that is not below any of it.

        Raises what `append` raises; what was not appended stays, in its order.
        """
        # One relay at a time: two would append the same rows and could append later ones first.
        with self._relaying:
            while rows := store.outbox(self._database, limit=_AT_ONCE):
                facts = [
                    fact for row in rows for fact in upcast.decode(row.body, version=row.version)
                ]
                keys = [bytes.fromhex(row.event_id) + _SUFFIX for row in rows]
                # Append before delete: a crash between the two repeats the append, whose keys the log then knows. The other
                # order would lose the facts.
                self._through = max(self._through, append(facts, keys))
                with self._database.transaction() as session:
                    store.clear_outbox(session, through=rows[-1].seq)
            return self._through


def _id_of(fact: Fact) -> str | None:
    found: str | None = getattr(fact, "event_id", None)
    return found
