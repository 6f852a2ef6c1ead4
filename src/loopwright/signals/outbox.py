"""Facts on their way into the log: stored with the offset that they follow from, removed once the log has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.errors import Overloaded
from loopwright.core.events import Expected, Reported
from loopwright.core.ports import Committed, Database
from loopwright.core.ports import Session as Transaction
from loopwright.eventlog import Writer

from .derived import Keyed

CHUNK: Final = 2_000
_COMMIT_S: Final = 30.0


# Not appended in the transaction that folds: log and tables may lie in two databases, and have no common commit.
class Outbox:
    """Facts that wait for the log, in the table `session_facts`.

    A crash between the append and the removal appends the same keys again, and the log keeps each key once.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self.appended = 0
        """Facts that the log took since the start, duplicates not counted."""

    def put(self, transaction: Transaction, facts: Sequence[Keyed]) -> None:
        """Store facts in the caller's transaction."""
        transaction.executemany(
            # After a crash the same facts are derived again, under the same keys.
            "INSERT INTO session_facts VALUES (?, ?) ON CONFLICT (fact_key) DO NOTHING",
            [(key, _encode(fact)) for key, fact in facts],
        )

    def send(self) -> bool:
        """Append what waits; False when the log does not take it now."""
        while rows := self._database.query(
            "SELECT fact_key, body FROM session_facts ORDER BY fact_key LIMIT ?", (CHUNK,)
        ):
            keys = [bytes(key) for key, _ in rows]
            # Appended, then deleted: a crash in between repeats facts, the other order would lose them.
            committed = self._append([_decode(body) for _, body in rows], keys)
            if committed is None:
                return False
            with self._database.transaction() as transaction:
                transaction.executemany(
                    "DELETE FROM session_facts WHERE fact_key = ?", [(key,) for key in keys]
                )
            self.appended += committed.duplicates.count(False)
        return True

    def _append(self, facts: list[Reported | Expected], keys: list[bytes]) -> Committed | None:
        try:
            return self._writer.append(facts, keys, timeout_s=_COMMIT_S)
        except Overloaded:  # or not confirmed in time: the keys make a repetition harmless
            return None


_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Reported | Expected).decode
