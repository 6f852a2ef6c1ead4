"""The learner's tables: states, the offset they were learned through, snapshots and remembered decisions.

All that one checkpoint holds is written in one transaction, so that a state and its offset can never disagree.
The log is the truth: a lost checkpoint costs only the time to learn again from the one before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.errors import Broken
from loopwright.core.experiment import Experiment
from loopwright.core.ports import Database, Session
from loopwright.core.schema import apply_schema
from loopwright.eventlog import Consumers

from .control import Control
from .group import Key
from .memory import Remembered

KEEP: Final = 50
"""Snapshots kept per experiment."""

# Keys in one statement: SQLite allowed 999 parameters until version 3.32.
_LOOKUP: Final = 400

# BYTEA is PostgreSQL's name for bytes; SQLite stores bytes as they are under any name.
_SCHEMA: Final = (
    (
        "CREATE TABLE event_time (name TEXT PRIMARY KEY, event_ms BIGINT NOT NULL)",
        "CREATE TABLE states (tenant_id TEXT NOT NULL, experiment_id TEXT NOT NULL, "
        "body BYTEA NOT NULL, PRIMARY KEY (tenant_id, experiment_id))",
        "CREATE TABLE snapshots (tenant_id TEXT NOT NULL, experiment_id TEXT NOT NULL, "
        "version BIGINT NOT NULL, taken_at_ms BIGINT NOT NULL, n BIGINT NOT NULL, "
        "policy TEXT NOT NULL, digest TEXT NOT NULL, size_bytes BIGINT NOT NULL, "
        "state BYTEA NOT NULL, PRIMARY KEY (tenant_id, experiment_id, version))",
        "CREATE TABLE remembered (tenant_id TEXT NOT NULL, experiment_id TEXT NOT NULL, "
        "decision_id TEXT NOT NULL, due_ms BIGINT, forget_ms BIGINT, body BYTEA NOT NULL, "
        "PRIMARY KEY (tenant_id, experiment_id, decision_id))",
        "CREATE INDEX remembered_due ON remembered "
        "(tenant_id, experiment_id, due_ms, decision_id) WHERE due_ms IS NOT NULL",
        "CREATE INDEX remembered_forget ON remembered (tenant_id, experiment_id, forget_ms) "
        "WHERE forget_ms IS NOT NULL",
    ),
    (
        "CREATE TABLE spent (tenant_id TEXT NOT NULL, experiment_id TEXT NOT NULL, "
        "spender BYTEA NOT NULL, day BIGINT NOT NULL, n BIGINT NOT NULL, "
        "PRIMARY KEY (tenant_id, experiment_id, spender))",
        "CREATE INDEX spent_day ON spent (tenant_id, experiment_id, day)",
    ),
    (
        "CREATE TABLE controls (tenant_id TEXT NOT NULL, experiment_id TEXT NOT NULL, "
        "body BYTEA NOT NULL, PRIMARY KEY (tenant_id, experiment_id))",
    ),
)
CONSUMER: Final = "learner"


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """Everything about one experiment that a checkpoint holds, but for its remembered decisions."""

    state: bytes
    """What the policy has learned, as `trainer.State` writes it."""
    tally: bytes
    version: int
    """Offset through which `state` has learned."""
    sealed: int
    """Offset of the latest rollback."""
    apart: tuple[int, int] | None = None
    """Offset and event time at which reading stopped, of an experiment that is paused or catching up; those
    of one that reads along are the checkpoint's."""
    experiment: Experiment | None = None
    """The experiment at the offset that was read; None when the log did not hold control facts yet."""
    delays: bytes = b""
    """How long feedback takes, as `delays.Delays` writes it; empty without an attribution window."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A kept state of one experiment."""

    version: int
    taken_at_ms: int
    n: int
    policy: str
    digest: str
    size_bytes: int
    state: bytes = b""

    @classmethod
    def of(cls, state: bytes, *, version: int, taken_at_ms: int, n: int, policy: str) -> Snapshot:
        """Return `state` with its digest."""
        return cls(
            version=version,
            taken_at_ms=taken_at_ms,
            n=n,
            policy=policy,
            digest=hashlib.sha256(state).hexdigest(),
            size_bytes=len(state),
            state=state,
        )


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction writes: all of it or nothing."""

    through: int
    event_ms: int
    states: Mapping[Key, Saved]
    controls: Mapping[Key, Control]
    remembered: Mapping[Key, Mapping[str, Remembered | None]]
    forgotten: Mapping[Key, int]
    """Event time of experiments whose decisions that are past being remembered may go."""
    spent: Mapping[Key, tuple[int, Mapping[bytes, int]]]
    """Counts of `memory.Spent` and the day they are of; those of earlier days may go."""
    snapshots: Sequence[tuple[Key, Snapshot]]


class Store:
    """Reads and writes the learner's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        apply_schema(database, "learning", _SCHEMA)
        self._consumers = Consumers(database)
        self._consumers.register(CONSUMER)

    def position(self) -> tuple[int, int]:
        """Return the checkpoint's offset and event time."""
        rows = self._database.query("SELECT event_ms FROM event_time WHERE name = ?", (CONSUMER,))
        return self._consumers.position(CONSUMER), int(rows[0][0]) if rows else 0

    def states(self) -> dict[Key, Saved]:
        """Return every experiment's state; raises `Broken` when one cannot be read."""
        rows = self._database.query("SELECT tenant_id, experiment_id, body FROM states")
        return {(tenant, experiment): _saved(body) for tenant, experiment, body in rows}

    def controls(self) -> dict[Key, Control]:
        """Return what the log says of each experiment, through the checkpoint's offset."""
        rows = self._database.query("SELECT tenant_id, experiment_id, body FROM controls")
        return {(tenant, experiment): _control(body) for tenant, experiment, body in rows}

    def shelf(self, key: Key) -> DatabaseShelf:
        """Return the remembered decisions of one experiment."""
        return DatabaseShelf(self._database, key)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in one transaction."""
        with self._database.transaction() as session:
            self._consumers.advance(session, CONSUMER, checkpoint.through)
            session.execute(
                "INSERT INTO event_time VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET event_ms = excluded.event_ms",
                (CONSUMER, checkpoint.event_ms),
            )
            session.executemany(
                "INSERT INTO states VALUES (?, ?, ?) "
                "ON CONFLICT (tenant_id, experiment_id) DO UPDATE SET body = excluded.body",
                [(*key, _encode(saved)) for key, saved in checkpoint.states.items()],
            )
            session.executemany(
                "INSERT INTO controls VALUES (?, ?, ?) "
                "ON CONFLICT (tenant_id, experiment_id) DO UPDATE SET body = excluded.body",
                [(*key, _encode(control)) for key, control in checkpoint.controls.items()],
            )
            for key, remembered in checkpoint.remembered.items():
                _remember(session, key, remembered)
            session.executemany(
                "DELETE FROM remembered WHERE tenant_id = ? AND experiment_id = ? "
                "AND forget_ms < ? AND due_ms IS NULL",
                [(*key, event_ms) for key, event_ms in checkpoint.forgotten.items()],
            )
            for key, (day, counts) in checkpoint.spent.items():
                _count(session, key, counts, day=day)
            for key, snapshot in checkpoint.snapshots:
                _keep(session, key, snapshot)

    def snapshots(self, key: Key) -> list[Snapshot]:
        """Return the kept snapshots of an experiment, newest first, without their states."""
        rows = self._database.query(
            "SELECT version, taken_at_ms, n, policy, digest, size_bytes FROM snapshots "
            "WHERE tenant_id = ? AND experiment_id = ? ORDER BY version DESC",
            key,
        )
        return [_snapshot(row) for row in rows]

    def snapshot(self, key: Key, version: int) -> Snapshot | None:
        """Return one snapshot with its state."""
        rows = self._database.query(
            "SELECT version, taken_at_ms, n, policy, digest, size_bytes, state FROM snapshots "
            "WHERE tenant_id = ? AND experiment_id = ? AND version = ?",
            (*key, version),
        )
        return _snapshot(rows[0]) if rows else None


class DatabaseShelf:
    """The remembered decisions of one experiment in the database."""

    def __init__(self, database: Database, key: Key) -> None:
        self._database = database
        self._key = key

    def get(self, decision_ids: Sequence[str]) -> list[tuple[str, Remembered]]:
        """Return those that are kept."""
        rows = self._look_up(
            "SELECT decision_id, body FROM remembered WHERE tenant_id = ? AND experiment_id = ? "
            "AND decision_id IN",
            decision_ids,
        )
        return [(decision_id, _decode_remembered(body)) for decision_id, body in rows]

    def waiting(
        self, before_ms: int, *, after: tuple[int, str], limit: int
    ) -> list[tuple[str, Remembered]]:
        """Return decisions due before a time, by time due and id, beginning after the pair `after`."""
        rows = self._database.query(
            "SELECT decision_id, body FROM remembered WHERE tenant_id = ? AND experiment_id = ? "
            "AND due_ms < ? AND (due_ms, decision_id) > (?, ?) "
            "ORDER BY due_ms, decision_id LIMIT ?",
            (*self._key, before_ms, *after, limit),
        )
        return [(decision_id, _decode_remembered(body)) for decision_id, body in rows]

    def next_due_ms(self, from_ms: int) -> int | None:
        """Return the earliest time, not before `from_ms`, that a kept decision is due."""
        rows = self._database.query(
            "SELECT MIN(due_ms) FROM remembered WHERE tenant_id = ? AND experiment_id = ? "
            "AND due_ms >= ?",
            (*self._key, from_ms),
        )
        return None if rows[0][0] is None else int(rows[0][0])

    def spent(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Return those counts of `Spent` that are kept."""
        rows = self._look_up(
            "SELECT spender, n FROM spent WHERE tenant_id = ? AND experiment_id = ? AND spender IN",
            keys,
        )
        return [(bytes(spender), int(n)) for spender, n in rows]

    def _look_up(self, sql: str, keys: Sequence[str | bytes]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _LOOKUP):
            chunk = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(chunk))
            found += self._database.query(f"{sql} ({marks})", (*self._key, *chunk))
        return found


def _remember(session: Session, key: Key, remembered: Mapping[str, Remembered | None]) -> None:
    session.executemany(
        "INSERT INTO remembered VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (tenant_id, experiment_id, decision_id) DO UPDATE SET "
        "due_ms = excluded.due_ms, forget_ms = excluded.forget_ms, body = excluded.body",
        [
            (*key, decision_id, known.due_ms, known.forget_ms, _encode(known))
            for decision_id, known in remembered.items()
            if known is not None
        ],
    )
    session.executemany(
        "DELETE FROM remembered WHERE tenant_id = ? AND experiment_id = ? AND decision_id = ?",
        [(*key, decision_id) for decision_id, known in remembered.items() if known is None],
    )


def _count(session: Session, key: Key, counts: Mapping[bytes, int], *, day: int) -> None:
    session.executemany(
        "INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant_id, experiment_id, spender) "
        "DO UPDATE SET n = excluded.n",
        [(*key, spender, day, n) for spender, n in counts.items()],
    )
    session.execute(
        "DELETE FROM spent WHERE tenant_id = ? AND experiment_id = ? AND day < ?", (*key, day)
    )


def _keep(session: Session, key: Key, snapshot: Snapshot) -> None:
    session.execute(
        "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (tenant_id, experiment_id, version) DO NOTHING",
        (
            *key,
            snapshot.version,
            snapshot.taken_at_ms,
            snapshot.n,
            snapshot.policy,
            snapshot.digest,
            snapshot.size_bytes,
            snapshot.state,
        ),
    )
    session.execute(
        "DELETE FROM snapshots WHERE tenant_id = ? AND experiment_id = ? AND version <= "
        "(SELECT version FROM snapshots WHERE tenant_id = ? AND experiment_id = ? "
        "ORDER BY version DESC LIMIT 1 OFFSET ?)",
        (*key, *key, KEEP),
    )


def _snapshot(row: tuple[Any, ...]) -> Snapshot:
    version, taken_at_ms, n, policy, digest, size_bytes, *state = row
    return Snapshot(
        version=version,
        taken_at_ms=taken_at_ms,
        n=n,
        policy=policy,
        digest=digest,
        size_bytes=size_bytes,
        state=state[0] if state else b"",
    )


def _saved(body: bytes) -> Saved:
    try:
        return _decode_saved(body)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error


def _control(body: bytes) -> Control:
    try:
        return _decode_control(body)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Broken:
    return Broken(
        f"a learner's state cannot be read: {error}; move the state database away, and the learner "
        "learns again from the log"
    )


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_control: Final = msgspec.msgpack.Decoder(Control).decode
_decode_saved: Final = msgspec.msgpack.Decoder(Saved).decode
_decode_remembered: Final = msgspec.msgpack.Decoder(Remembered).decode
