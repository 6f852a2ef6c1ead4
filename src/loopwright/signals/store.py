"""Open sessions and the time each tenant has reached, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.ports import Session as Transaction

from .facts import About
from .fold import Session

SCHEMA: Final = (
    (
        "CREATE TABLE open_sessions (tenant_id TEXT NOT NULL, session_id TEXT NOT NULL, "
        "ended_ms BIGINT NOT NULL, arrived_ms BIGINT NOT NULL, body BYTEA NOT NULL, "
        "PRIMARY KEY (tenant_id, session_id))",
        "CREATE INDEX open_sessions_ended ON open_sessions (tenant_id, ended_ms)",
        "CREATE INDEX open_sessions_arrived ON open_sessions (arrived_ms)",
        "CREATE TABLE session_times (tenant_id TEXT PRIMARY KEY, latest_ms BIGINT NOT NULL)",
        "CREATE TABLE session_facts (fact_key BYTEA PRIMARY KEY, body BYTEA NOT NULL)",
    ),
)
LOG: Final = ""
"""The log's own clock in `session_times`; no tenant has an empty id."""


class Held(msgspec.Struct, array_like=True):
    """One session id: its sessions that are open, and what their answers are."""

    sessions: tuple[Session, ...] = ()
    arrived_ms: int = 0
    answers: dict[str, About] = {}
    aliases: dict[str, str] = {}
    """Other references to an answer, and the one it goes by."""
    said: set[tuple[str, str]] = set()
    """Answers, and the kinds of signal that the product itself reported of them."""


Key = tuple[str, str]
"""A tenant's id and a session's id."""


class Store:
    """The tables of one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def times(self) -> dict[str, int]:
        """Return the latest event time of each tenant, and that of the log's own clock under `LOG`."""
        rows = self._transaction.query("SELECT tenant_id, latest_ms FROM session_times")
        return {tenant: int(ms) for tenant, ms in rows}

    def load(self, tenant_id: str, session_id: str) -> Held:
        """Return what is held of a session id; a new, empty `Held` when nothing is."""
        rows = self._transaction.query(
            "SELECT body FROM open_sessions WHERE tenant_id = ? AND session_id = ?",
            (tenant_id, session_id),
        )
        return _decode(rows[0][0]) if rows else Held()

    def save(self, held: Mapping[Key, Held], times: Iterable[tuple[str, int]]) -> None:
        """Write session ids and times; a session id without open sessions is deleted."""
        rows, gone = [], []
        for key, one in held.items():
            if one.sessions:
                # Of the earliest open session, or that one would wait for the latest before the sweep finds it.
                ended_ms = min(session.ended_ms for session in one.sessions)
                rows.append((*key, ended_ms, one.arrived_ms, _encode(one)))
            else:
                gone.append(key)
        self._transaction.executemany(
            "INSERT INTO open_sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id) "
            "DO UPDATE SET ended_ms = excluded.ended_ms, arrived_ms = excluded.arrived_ms, "
            "body = excluded.body",
            rows,
        )
        self._delete(gone)
        self._transaction.executemany(
            "INSERT INTO session_times VALUES (?, ?) ON CONFLICT (tenant_id) "
            "DO UPDATE SET latest_ms = excluded.latest_ms",
            list(times),
        )

    def over(self, times: Mapping[str, int], *, grace_ms: int, limit: int) -> dict[Key, Held]:
        """Return at most `limit` session ids that nothing can reach any more.

        Either nothing of them arrived for `grace_ms` of the log's clock, or their tenant's event time has
        passed their first open session by as much.
        """
        found = self._transaction.query(
            "SELECT tenant_id, session_id, body FROM open_sessions WHERE arrived_ms < ? "
            "ORDER BY arrived_ms LIMIT ?",
            (times.get(LOG, -1) - grace_ms, limit),
        )
        for tenant_id, latest_ms in times.items():
            found += self._transaction.query(
                "SELECT tenant_id, session_id, body FROM open_sessions "
                "WHERE tenant_id = ? AND ended_ms < ? ORDER BY ended_ms LIMIT ?",
                (tenant_id, latest_ms - grace_ms, max(limit - len(found), 0)),
            )
        return {(tenant_id, session_id): _decode(body) for tenant_id, session_id, body in found}

    def erase(self, tenant_id: str, person: str) -> None:
        """Delete the open sessions with an answer to a person."""
        rows = self._transaction.query(
            "SELECT session_id, body FROM open_sessions WHERE tenant_id = ?", (tenant_id,)
        )
        self._delete(
            [
                (tenant_id, session_id)
                for session_id, body in rows
                if any(about.person == person for about in _decode(body).answers.values())
            ]
        )

    def forget(self, tenant_id: str, marks: Sequence[bytes]) -> None:
        """Delete a tenant's open sessions, and facts that wait for the log, that hold one of `marks`."""
        rows = self._transaction.query(
            "SELECT session_id, body FROM open_sessions WHERE tenant_id = ?", (tenant_id,)
        )
        found = [
            (tenant_id, session_id)
            for session_id, body in rows
            if any(mark in bytes(body) or mark in session_id.encode() for mark in marks)
        ]
        self._delete(found)
        waiting = self._transaction.query("SELECT fact_key, body FROM session_facts")
        self._transaction.executemany(
            "DELETE FROM session_facts WHERE fact_key = ?",
            [(key,) for key, body in waiting if any(mark in bytes(body) for mark in marks)],
        )

    def _delete(self, keys: list[Key]) -> None:
        self._transaction.executemany(
            "DELETE FROM open_sessions WHERE tenant_id = ? AND session_id = ?", keys
        )


_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Held).decode
