"""SQLite as event log and as database: durable, in one file, with no server.

Both open in WAL mode. Every pragma runs on its own and is read back: a pragma that did not take effect would
be a silent loss of durability. The log is created beside its final name and renamed into place, so an empty
or half-written file under that name is always damage and never a beginning.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loopwright.core import upcast
from loopwright.core.errors import Broken, Conflict, DiskFull, LogCorrupt, LoopError
from loopwright.core.ports import Batch, Fresh, KeyTaken, Offset, Revised

from .files import fsync_directory

APPLICATION_ID: Final = 0x4C6F6F70
"""Marks a file as an event log of ours, in SQLite's header: the letters "Loop"."""

FORMAT: Final = 2
"""Layout of the log's tables, kept in SQLite's `user_version`. A log of format 1 is brought to it when it is opened."""

_SCHEMA: Final = (
    "CREATE TABLE batches (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, "
    "version INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE keys (key BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID",
    "CREATE TABLE trimmed (through INTEGER NOT NULL)",
    "INSERT INTO trimmed VALUES (0)",
)
# `bare_keys` marks a log that was of format 1: some of its keys are of a kind that is not made any more.
_UPGRADE: Final = (
    "ALTER TABLE keys ADD COLUMN said BLOB",
    "CREATE TABLE bare_keys (through INTEGER NOT NULL)",
    "INSERT INTO bare_keys SELECT coalesce(max(first + count - 1), 0) FROM batches",
    "PRAGMA user_version = 2",
)
_HEAD: Final = (
    "SELECT coalesce((SELECT first + count - 1 FROM batches ORDER BY first DESC LIMIT 1), "
    "(SELECT through FROM trimmed))"
)
# A damaged record may claim that its body is text.
_ROWS: Final = "SELECT first, count, version, crc, CAST(body AS BLOB) FROM batches"
_BEYOND: Final = (
    " WHERE first >= coalesce((SELECT max(first) FROM batches WHERE first <= ?), 0) "
    "AND first + count > ? ORDER BY first"
)
_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_WAL_MAGICS: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\0\0\0\0")
_TAIL_BATCHES: Final = 256
_REPLACED_AT_ONCE: Final = 64
"""Batches in one transaction: appends come in between."""
_QUICK_CHECK_BYTES: Final = 32 << 20
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
            _check_intact(self._path, self._wal)
        else:
            _create(self._path)
        with _translated(self._path, damage=LogCorrupt):
            self._write = _connect(self._path)
            _set(self._write, "journal_mode", "wal")
            # FULL. With NORMAL a commit in WAL mode is not synced, so a power cut could take acknowledged
            # facts.
            _set(self._write, "synchronous", 2)
            self.has_bare_keys = _upgraded(self._write)
            """Whether some keys were stored before keys had contents, when they were made in another way."""
            _set(self._write, "wal_autocheckpoint", _AUTOCHECKPOINT_PAGES)
            _set(self._write, "journal_size_limit", wal_limit_bytes)
            # On macOS, fsync alone leaves the bytes in the cache of the drive.
            _set(self._write, "fullfsync", 1)
            _set(self._write, "cache_size", -16_000)
            if max_bytes is not None:
                page_size = self._write.execute("PRAGMA page_size").fetchone()[0]
                _set(self._write, "max_page_count", max(max_bytes // page_size, 1))

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
        with self._lock, _translated(self._path, damage=LogCorrupt):
            try:
                with _begun(self._write) as write:
                    first: int = write.execute(_HEAD).fetchone()[0] + 1
                    # Keys before the body: a repetition is refused before a long batch is written.
                    _insert_keys(write, keys)
                    if revised:
                        _revise(write, revised)
                    write.execute(
                        "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                        (first, count, version, _crc(first, count, version, body), body),
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
            _translated(self._path, damage=LogCorrupt),
            _begun(self._write) as write,
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
            closing(connection.execute(_ROWS + _BEYOND, (after + 1, after + 1))) as rows,
        ):
            for row in rows:
                _check_sum(self._path, row)
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
                _translated(self._path, damage=LogCorrupt),
                _begun(self._write) as write,
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
                (b.version, _crc(b.first, b.count, b.version, b.body), b.body, b.first, b.count)
                for b in some
            ]
            with (
                self._lock,
                _translated(self._path, damage=LogCorrupt),
                _begun(self._write) as write,
            ):
                write.executemany(
                    "UPDATE batches SET version = ?, crc = ?, body = ? "
                    "WHERE first = ? AND count = ?",
                    rows,
                )
        with self._lock, _translated(self._path, damage=LogCorrupt):
            self._write.execute("VACUUM")
            self._readers.drop_idle()
            blocked = self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not blocked

    def verify(self) -> Verified:
        """Check the whole log: pages, checksums, gapless offsets, readable facts. Raises `LogCorrupt`.

        Reads everything, in one read transaction; run it on a copy or while the load is low.
        """
        with self._readers.borrow() as connection:
            _check_pages(connection, self._path)
            trimmed = connection.execute("SELECT through FROM trimmed").fetchone()[0]
            keys = connection.execute("SELECT count(*) FROM keys").fetchone()[0]
            batches, last = 0, trimmed
            rows = connection.execute(f"{_ROWS} ORDER BY first")
            for row in rows:
                last = _check_batch(self._path, row, follows=last)
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
        _set(self._write, "busy_timeout", _CHECKPOINT_MS)
        try:
            blocked = self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            # The append that called is committed, and what was not moved stays in the write-ahead log.
            _logger.warning("the write-ahead log cannot be cut back", exc_info=True)
            blocked = True
        finally:
            _set(self._write, "busy_timeout", _BUSY_MS)
        # A long reader blocks it: try again after a quarter more, not at every commit.
        self._wal_bound = size + self._wal_limit // 4 if blocked else self._wal_limit


class SqliteDatabase:
    """Tables and transactions in one SQLite file, or in memory with the path `:memory:`.

    One connection behind a re-entrant lock, so any thread may call. `synchronous="FULL"` makes a commit
    survive power loss; `"NORMAL"` survives a crash of the process and costs no fsync per commit. With
    `is_private` the file is its owner's alone and what is deleted is overwritten; after `rewrite` it is in no file.
    A violated constraint raises `Conflict`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Literal["NORMAL", "FULL"] = "FULL",
        is_private: bool = False,
    ) -> None:
        self._path = Path(path)
        self._lock = threading.RLock()
        if is_private and str(path) != ":memory:":
            _keep_private(self._path)
        with _translated(self._path, damage=Broken):
            self._connection = _connect(path)
            _set(self._connection, "journal_mode", "memory" if str(path) == ":memory:" else "wal")
            _set(self._connection, "synchronous", {"NORMAL": 1, "FULL": 2}[synchronous])
            _set(self._connection, "journal_size_limit", 16 << 20)
            if is_private:
                # Zeros over deleted rows: SQLite otherwise only marks their space as free.
                _set(self._connection, "secure_delete", 1)
                # Temporary tables in memory: no copy of it in another folder.
                _set(self._connection, "temp_store", 2)
            _set(self._connection, "foreign_keys", 1)
        self._is_to_rewrite = False

    @contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        """Open a transaction: committed at the end of the block, rolled back by an exception."""
        with self._lock, _translated(self._path, damage=Broken):
            if self._connection.in_transaction:
                raise RuntimeError(
                    "a transaction of this thread is already open; pass its session on"
                )
            with _begun(self._connection) as connection:
                yield SqliteSession(connection)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query outside any transaction."""
        with self._lock, _translated(self._path, damage=Broken):
            return self._connection.execute(sql, params).fetchall()

    def rewrite(self) -> bool:
        """Write the whole file anew from what is in it, so that not a byte of what was deleted is left.

        Overwriting what is deleted is not enough: when pages are balanced, copies of rows stay behind in the gaps,
        and are not found when the rows are deleted later. It takes about a second for 100 MB. Return False, leaving
        it for the next `scrub`, when another process holds the file for longer than a moment.
        """
        with self._lock:
            self._is_to_rewrite = True
            return self.scrub()

    def scrub(self) -> bool:
        """Empty the write-ahead log into the file, as it still holds what was deleted or overwritten.

        Return False, leaving it for the next time, when another process reads for longer than a moment.
        """
        with self._lock, _translated(self._path, damage=Broken):
            _set(self._connection, "busy_timeout", _CHECKPOINT_MS)
            try:
                if self._is_to_rewrite and not self._rewritten():
                    return False
                blocked = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                _set(self._connection, "busy_timeout", _BUSY_MS)
        return not blocked

    def _rewritten(self) -> bool:
        try:
            self._connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        self._is_to_rewrite = False
        return True

    def close(self) -> None:
        """Release the engine."""
        with self._lock:
            self._connection.close()


class SqliteSession:
    """One open transaction on a `SqliteDatabase`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return the number of rows it changed."""
        return max(self._connection.execute(sql, params).rowcount, 0)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each row; return the number of rows changed."""
        return max(self._connection.executemany(sql, rows).rowcount, 0)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(sql, params).fetchall()


class _Readers:
    """Read connections, as many as there are readers at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path, damage=LogCorrupt):
            if self._is_closed:
                raise Broken(f"{self._path}: the event log is closed")
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = _connect(self._path)
                _set(connection, "query_only", 1)
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


_BUSY_MS: Final = 10_000
_CHECKPOINT_MS: Final = 100


def _connect(path: str | Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )


def _keep_private(path: Path) -> None:
    """Make the file before SQLite does, which gives its `-wal` and `-shm` the mode that the file has."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        for kept in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if kept.exists():
                kept.chmod(0o600)
    except OSError as error:
        raise Broken(
            f"{path} cannot be opened for writing ({error.strerror}); check the path and its owner"
        ) from error


def _set(connection: sqlite3.Connection, pragma: str, value: int | str) -> None:
    """Set one pragma and read it back: SQLite ignores what it does not know or cannot do."""
    connection.execute(f"PRAGMA {pragma} = {value}").fetchall()
    found = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if found != value:
        raise Broken(f"SQLite keeps {pragma} at {found}; {value} is needed", found=found)


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A transaction that takes the write lock at once, so that it cannot fail half way for want of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    # Also KeyboardInterrupt: a transaction left open would swallow those of the next callers. After some
    # errors, such as a full disk, SQLite has rolled back by itself.
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


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


def _upgraded(connection: sqlite3.Connection) -> bool:
    """Bring a log of format 1 to the present one, in one transaction; return whether it once was of format 1."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
        with _begun(connection):
            for statement in _UPGRADE:
                connection.execute(statement)
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'bare_keys'")
    return found.fetchone() is not None


def _crc(first: int, count: int, version: int, body: bytes) -> int:
    """The header is part of the sum: a batch that moved or lost its count is damaged too."""
    return zlib.crc32(body, zlib.crc32(struct.pack("<QII", first, count, version)))


@contextmanager
def _translated(path: Path, *, damage: type[LoopError]) -> Iterator[None]:
    """Turn what SQLite raises into errors that say what to do. Misuse passes through: it is our bug."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.IntegrityError as error:
        raise Conflict(f"{path.name}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _translate(error, path, damage) from error


def _translate(error: sqlite3.DatabaseError, path: Path, damage: type[LoopError]) -> Exception:
    name = getattr(error, "sqlite_errorname", "")
    # The low byte is the primary code; the rest of an extended code refines it.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_IOERR if "READ" in name:
            return Broken(f"{path} cannot be read from the disk ({name}): check the disk")
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return DiskFull(
                f"{path}: the disk refused a write ({name}: {error}); nothing unwritten was "
                "acknowledged: free some space, then repeat the request"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, str(error), damage)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Broken(f"{path} is held by another process ({name}); stop that process")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Broken(
                f"{path} cannot be opened for writing ({name}); check the path and its owner"
            )
    return error


def _damaged(path: Path, found: str, damage: type[LoopError] = LogCorrupt) -> LoopError:
    return damage(
        f"{path} is damaged: {found}. Nothing was changed; move it aside and restore a backup",
        path=str(path),
    )


def _check_sum(path: Path, row: tuple[Any, ...]) -> None:
    first, count, version, crc, body = row
    try:
        matches = _crc(first, count, version, body) == crc
    except (TypeError, struct.error):  # a damaged record may hold anything
        matches = False
    if not matches:
        raise _damaged(path, f"the batch at offset {first} does not match its checksum")


def _create(path: Path) -> None:
    """Make an empty log under another name and rename it: under its own name it is whole or absent."""
    fresh = Path(f"{path}.new")
    for leftover in (fresh, Path(f"{fresh}-wal"), Path(f"{fresh}-shm")):
        leftover.unlink(missing_ok=True)
    with _translated(path, damage=LogCorrupt), closing(_connect(fresh)) as connection:
        _set(connection, "journal_mode", "wal")
        _set(connection, "application_id", APPLICATION_ID)
        _set(connection, "user_version", FORMAT)
        with _begun(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
    # Closing the last connection has moved the write-ahead log into the file, so this one file is the whole
    # log.
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.rename(path)
    fsync_directory(path.parent)


def _check_intact(path: Path, wal: Path) -> None:
    """Raise `LogCorrupt` unless `path` looks like a log we can continue. Reads only, never writes.

    Checks headers, sizes and the newest batches; the pages too while the log is small. `verify` checks all.
    """
    _check_headers(path, wal)
    with (
        _translated(path, damage=LogCorrupt),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
    ):
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise _damaged(path, "it is an SQLite file, but not an event log of Loopwright")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (1, FORMAT):
            raise LogCorrupt(
                f"{path} has log format {found}; this program reads formats 1 to {FORMAT}: use the release "
                "of Loopwright that wrote it",
                found=found,
                expected=FORMAT,
            )
        if path.stat().st_size <= _QUICK_CHECK_BYTES:
            _check_pages(connection, path)
        _check_tail(connection, path)


def _check_headers(path: Path, wal: Path) -> None:
    if not path.exists():
        raise _damaged(path, f"it is missing, but {wal.name} is there")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_SQLITE_MAGIC):
        raise _damaged(path, "it does not start like an SQLite file")
    wal_header = b""
    if wal.exists():
        with wal.open("rb") as file:
            wal_header = file.read(32)
    if len(wal_header) == 32 and wal_header[:4] not in _WAL_MAGICS:
        # SQLite would take it for empty, and forget what was acknowledged.
        raise _damaged(wal, "it does not start like a write-ahead log")
    # File format, section 1.3: bytes 16-17 are the page size, where 1 stands for 65536, and bytes 28-31 the
    # pages.
    page_size, pages = struct.unpack(">H10xI", header[16:32])
    expected = pages * (65536 if page_size == 1 else page_size)
    # While a write-ahead log is there, pages may be in it and not yet in the file.
    if not wal_header and path.stat().st_size < expected:
        raise _damaged(path, f"it has {path.stat().st_size} bytes of {expected}: it was cut short")


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, found)


def _check_tail(connection: sqlite3.Connection, path: Path) -> None:
    newest = connection.execute(f"{_ROWS} ORDER BY first DESC LIMIT ?", (_TAIL_BATCHES,)).fetchall()
    trimmed = connection.execute("SELECT through FROM trimmed").fetchone()[0]
    last = newest[-1][0] - 1 if len(newest) == _TAIL_BATCHES else trimmed
    for row in reversed(newest):
        last = _check_batch(path, row, follows=last)


def _check_batch(path: Path, row: tuple[Any, ...], *, follows: int) -> int:
    _check_sum(path, row)
    first, count, *_ = row
    if first != follows + 1:
        raise _damaged(path, f"offset {follows} is followed by {first}")
    last: int = first + count - 1
    return last
