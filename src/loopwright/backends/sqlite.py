"""SQLite as database: tables and transactions in one file in WAL mode, with no server."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from loopwright.core.errors import Broken

from .sqlite_link import (
    BUSY_MS,
    CHECKPOINT_MS,
    begun,
    connect,
    keep_private,
    set_pragma,
    translated,
)


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
            keep_private(self._path)
        with translated(self._path, damage=Broken):
            self._connection = connect(path)
            set_pragma(
                self._connection, "journal_mode", "memory" if str(path) == ":memory:" else "wal"
            )
            set_pragma(self._connection, "synchronous", {"NORMAL": 1, "FULL": 2}[synchronous])
            set_pragma(self._connection, "journal_size_limit", 16 << 20)
            if is_private:
                # Zeros over deleted rows: SQLite otherwise only marks their space as free.
                set_pragma(self._connection, "secure_delete", 1)
                # Temporary tables in memory: no copy of it in another folder.
                set_pragma(self._connection, "temp_store", 2)
            set_pragma(self._connection, "foreign_keys", 1)
        self._is_to_rewrite = False

    @contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        """Open a transaction: committed at the end of the block, rolled back by an exception."""
        with self._lock, translated(self._path, damage=Broken):
            if self._connection.in_transaction:
                raise RuntimeError(
                    "a transaction of this thread is already open; pass its session on"
                )
            with begun(self._connection) as connection:
                yield SqliteSession(connection)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query outside any transaction."""
        with self._lock, translated(self._path, damage=Broken):
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
        with self._lock, translated(self._path, damage=Broken):
            set_pragma(self._connection, "busy_timeout", CHECKPOINT_MS)
            try:
                if self._is_to_rewrite and not self._rewritten():
                    return False
                blocked = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                set_pragma(self._connection, "busy_timeout", BUSY_MS)
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
