"""What the event log and the database in SQLite share: connections, pragmas that are read back, transactions, errors.

Every pragma runs on its own and is read back: a pragma that did not take effect would be a silent loss of durability.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loopwright.core.errors import Broken, Conflict, DiskFull, LogCorrupt, LoopError

BUSY_MS: Final = 10_000
"""How long a statement waits for another process to let the file go."""
CHECKPOINT_MS: Final = 100
"""How long a checkpoint waits for readers: appends wait with it."""


def connect(path: str | Path) -> sqlite3.Connection:
    """Return a connection that any thread may use, and that begins no transaction by itself."""
    return sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )


def keep_private(path: Path) -> None:
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


def set_pragma(connection: sqlite3.Connection, pragma: str, value: int | str) -> None:
    """Set one pragma and read it back: SQLite ignores what it does not know or cannot do."""
    connection.execute(f"PRAGMA {pragma} = {value}").fetchall()
    found = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if found != value:
        raise Broken(f"SQLite keeps {pragma} at {found}; {value} is needed", found=found)


@contextmanager
def begun(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
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


@contextmanager
def translated(path: Path, *, damage: type[LoopError]) -> Iterator[None]:
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
            return damaged(path, str(error), damage)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Broken(f"{path} is held by another process ({name}); stop that process")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Broken(
                f"{path} cannot be opened for writing ({name}); check the path and its owner"
            )
    return error


def damaged(path: Path, found: str, damage: type[LoopError] = LogCorrupt) -> LoopError:
    """Return the error for a file that is not what was written."""
    return damage(
        f"{path} is damaged: {found}. Nothing was changed; move it aside and restore a backup",
        path=str(path),
    )
