"""SQLite as event log: durable, in one file in WAL mode, with no server."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from loopwright.core import upcast
from loopwright.core.errors import Broken, LogCorrupt
from loopwright.core.ports import Batch, Fresh, KeyTaken, Offset, Revised

from .sqlite_layout import (
    ROWS,
    check_batch,
    check_intact,
    check_pages,
    check_sum,
    crc_of,
    create,
    upgraded,
)
from .sqlite_link import BUSY_MS, CHECKPOINT_MS, begun, connect, set_pragma, translated

_HEAD: Final = (
    "SELECT coalesce((SELECT first + count - 1 FROM batches ORDER BY first DESC LIMIT 1), "
    "(SELECT through FROM trimmed))"
)
_BEYOND: Final = (
    " WHERE first >= coalesce((SELECT max(first) FROM batches WHERE first <= ?), 0) "
    "AND first + count > ? ORDER BY first"
)
_REPLACED_AT_ONCE: Final = 64
"""Batches in one transaction: appends come in between."""
_AUTOCHECKPOINT_PAGES: Final = 1000
# One statement per power of four: the driver drops and retakes the interpreter lock for each statement it
# runs, which a busy event loop makes expensive, so 256 keys travel in one.
_KEY_CHUNKS: Final = tuple(
    (n, f"INSERT INTO keys VALUES {','.join(['(?, ?)'] * n)}")  # noqa: S608 - only question marks
    for n in (256, 64, 16, 4, 1)
)
_logger = logging.getLogger(__name__)


class Verified(msgspec.Struct, frozen=True):
    """What a full check of an event log went through."""

    batches: int
    records: int
    keys: int
    first: int
    """Offset of the oldest record still in the log; 0 when there is none."""
    last: int


class SqliteEventLog:
    """An event log in one SQLite file, `synchronous=FULL`: `append` returns after the fsync of its commit.

    One write connection behind a lock; each concurrent reader gets a connection of its own. Raises
    `LogCorrupt`, leaving every byte as it was, when the file is not an intact log. `max_bytes` stops the log
    with `DiskFull` at that size; `wal_limit_bytes` is where the write-ahead log gets cut back by force.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int | None = None,
        wal_limit_bytes: int = 64 << 20,
    ) -> None:
        self._path = Path(path)
        self._wal = Path(f"{self._path}-wal")
        self._lock = threading.Lock()
        self._readers = _Readers(self._path)
        self._wal_limit = self._wal_bound = wal_limit_bytes
        if self._path.exists() or self._wal.exists():
            check_intact(self._path, self._wal)
        else:
            create(self._path)
        with translated(self._path, damage=LogCorrupt):
            self._write = connect(self._path)
            set_pragma(self._write, "journal_mode", "wal")
            # FULL. With NORMAL a commit in WAL mode is not synced, so a power cut could take acknowledged
            # facts.
            set_pragma(self._write, "synchronous", 2)
            self.has_bare_keys = upgraded(self._write)
            """Whether some keys were stored before keys had contents, when they were made in another way."""
            set_pragma(self._write, "wal_autocheckpoint", _AUTOCHECKPOINT_PAGES)
            set_pragma(self._write, "journal_size_limit", wal_limit_bytes)
            # On macOS, fsync alone leaves the bytes in the cache of the drive.
            set_pragma(self._write, "fullfsync", 1)
            set_pragma(self._write, "cache_size", -16_000)
            if max_bytes is not None:
                page_size = self._write.execute("PRAGMA page_size").fetchone()[0]
                set_pragma(self._write, "max_page_count", max(max_bytes // page_size, 1))

    def append(
        self,
        body: bytes,
        *,
        count: int,
        version: int,
        keys: Fresh,
        revised: Revised | None = None,
    ) -> Offset:
        """Store one batch and its keys in one durable step; return its first offset.

        All or nothing: raises `KeyTaken`, storing nothing, when any key is already there, or when one of `revised`
        does not have what is to be replaced; `DiskFull` when the disk refuses.
        """
        with self._lock, translated(self._path, damage=LogCorrupt):
            try:
                with begun(self._write) as write:
                    first: int = write.execute(_HEAD).fetchone()[0] + 1
                    # Keys before the body: a repetition is refused before a long batch is written.
                    _insert_keys(write, keys)
                    if revised:
                        _revise(write, revised)
                    write.execute(
                        "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                        (first, count, version, crc_of(first, count, version, body), body),
                    )
            except sqlite3.IntegrityError as error:
                # SQLite's error names one key at most, and callers need all; they are looked up after the
                # rollback.
                with self._readers.borrow() as connection:
                    raise KeyTaken(_taken(connection, list(keys))) from error
            self._hold_wal()
        return Offset(first)

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Store those of `keys` that are new, durably and in one step; return those that were there before."""
        with (
            self._lock,
            translated(self._path, damage=LogCorrupt),
            begun(self._write) as write,
        ):
            found = set(_taken(write, keys))
            # One call may name a key twice, which the unique index would refuse.
            _insert_keys(write, [key for key in dict.fromkeys(keys) if key not in found])
        return found

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are already stored."""
        with self._readers.borrow() as connection:
            return set(_taken(connection, keys))

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        """Return whole batches that hold records beyond offset `after`, oldest first.

        Stops once `limit` records are reached; the last batch may run past it. Raises `LogCorrupt` when a
        body does not match its checksum.
        """
        batches: list[Batch] = []
        wanted = limit
        with (
            self._readers.borrow() as connection,
            closing(connection.execute(ROWS + _BEYOND, (after + 1, after + 1))) as rows,
        ):
            for row in rows:
                check_sum(self._path, row)
                first, count, version, _, body = row
                batches.append(Batch(first=first, count=count, version=version, body=body))
                wanted -= batches[-1].last - max(after, first - 1)
                if wanted <= 0:
                    break
        return batches

    def head(self) -> Offset:
        """Return the offset of the newest record; 0 when there is none."""
        with self._readers.borrow() as connection:
            return Offset(connection.execute(_HEAD).fetchone()[0])

    def trim(self, through: Offset) -> int:
        """Drop whole batches whose last offset is at most `through`; keys stay. Return records dropped."""
        dropped = 0
        while True:
            with (
                self._lock,
                translated(self._path, damage=LogCorrupt),
                begun(self._write) as write,
            ):
                doomed = write.execute(
                    "SELECT first, count FROM batches WHERE first <= ? AND first + count - 1 <= ? "
                    "ORDER BY first LIMIT 256",  # short transactions: appends come in between
                    (through, through),
                ).fetchall()
                if not doomed:
                    return dropped
                first, count = doomed[-1]
                write.execute("DELETE FROM batches WHERE first <= ?", (first,))
                write.execute("UPDATE trimmed SET through = ?", (first + count - 1,))
            dropped += sum(count for _, count in doomed)

    def replace(self, batches: Iterable[Batch]) -> bool:
        """Put the body and version of each of `batches` in the place of those of the batch with its first offset.

        Then write the file anew, so that what stood there before and what was trimmed is in no file; appends wait,
        about a second for 100 MB. False when a reader holds the write-ahead log: call again, without batches.
        """
        waiting = iter(batches)
        while some := list(islice(waiting, _REPLACED_AT_ONCE)):
            rows = [
                (b.version, crc_of(b.first, b.count, b.version, b.body), b.body, b.first, b.count)
                for b in some
            ]
            with (
                self._lock,
                translated(self._path, damage=LogCorrupt),
                begun(self._write) as write,
            ):
                write.executemany(
                    "UPDATE batches SET version = ?, crc = ?, body = ? "
                    "WHERE first = ? AND count = ?",
                    rows,
                )
        with self._lock, translated(self._path, damage=LogCorrupt):
            self._write.execute("VACUUM")
            self._readers.drop_idle()
            blocked = self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not blocked

    def verify(self) -> Verified:
        """Check the whole log: pages, checksums, gapless offsets, readable facts. Raises `LogCorrupt`.

        Reads everything, in one read transaction; run it on a copy or while the load is low.
        """
        with self._readers.borrow() as connection:
            check_pages(connection, self._path)
            trimmed = connection.execute("SELECT through FROM trimmed").fetchone()[0]
            keys = connection.execute("SELECT count(*) FROM keys").fetchone()[0]
            batches, last = 0, trimmed
            rows = connection.execute(f"{ROWS} ORDER BY first")
            for row in rows:
                last = check_batch(self._path, row, follows=last)
                _, count, version, _, body = row
                if len(upcast.decode(body, version=version)) != count:
                    raise LogCorrupt(
                        f"{self._path}: the batch at offset {row[0]} miscounts its facts"
                    )
                batches += 1
        records = last - trimmed
        return Verified(
            batches=batches,
            records=records,
            keys=keys,
            first=trimmed + 1 if records else 0,
            last=last,
        )

    def close(self) -> None:
        """Release the engine."""
        self._readers.close()
        with self._lock:
            self._write.close()

    def _hold_wal(self) -> None:
        """Cut the write-ahead log back when readers kept the automatic checkpoint from reusing it."""
        size = self._wal.stat().st_size
        if size <= self._wal_bound:
            return
        # It waits for the readers of now, not for those that come: a stall this long at the most.
        set_pragma(self._write, "busy_timeout", CHECKPOINT_MS)
        try:
            blocked = self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            # The append that called is committed, and what was not moved stays in the write-ahead log.
            _logger.warning("the write-ahead log cannot be cut back", exc_info=True)
            blocked = True
        finally:
            set_pragma(self._write, "busy_timeout", BUSY_MS)
        # A long reader blocks it: try again after a quarter more, not at every commit.
        self._wal_bound = size + self._wal_limit // 4 if blocked else self._wal_limit


class _Readers:
    """Read connections, as many as there are readers at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path, damage=LogCorrupt):
            if self._is_closed:
                raise Broken(f"{self._path}: the event log is closed")
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect(self._path)
                set_pragma(connection, "query_only", 1)
            try:
                yield connection
            finally:
                # No lock: a list's `append` and `pop` are atomic, and a reader that finds the list empty opens
                # a connection.
                self._idle.append(connection)
                self._close_idle()

    def _close_idle(self) -> None:
        """A reader that outlives `close` closes its own connection."""
        with suppress(IndexError):
            while self._is_closed:
                self._idle.pop().close()

    def drop_idle(self) -> None:
        """Close the connections that nobody reads with now."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        self._is_closed = True
        self._close_idle()


def _taken(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    # SQLite before 3.32 takes at most 999 parameters in a statement.
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        marks = ",".join("?" * len(chunk))
        rows = connection.execute(f"SELECT key, said FROM keys WHERE key IN ({marks})", chunk)  # noqa: S608 - only question marks
        found.update(rows.fetchall())
    return found


def _insert_keys(
    connection: sqlite3.Connection,
    keys: Fresh,
) -> None:
    rows: list[bytes | None] = [None] * (2 * len(keys))
    rows[::2] = keys
    if isinstance(keys, Mapping):
        rows[1::2] = keys.values()
    start = 0
    for size, sql in _KEY_CHUNKS:
        while len(keys) - start >= size:
            connection.execute(sql, rows[2 * start : 2 * (start + size)])
            start += size


def _revise(connection: sqlite3.Connection, revised: Revised) -> None:
    """Replace what is kept beside keys; raises `KeyTaken` when one has something else beside it by now."""
    for key, (before, after) in revised.items():
        changed = connection.execute(
            "UPDATE keys SET said = ? WHERE key = ? AND said IS ?", (after, key, before)
        )
        if changed.rowcount != 1:
            raise KeyTaken(_taken(connection, [key]))
