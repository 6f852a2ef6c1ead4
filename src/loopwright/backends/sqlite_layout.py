"""How the file of an SQLite event log is laid out, and whether one that is found is whole.

The log is created beside its final name and renamed into place, so an empty or half-written file under that name is
always damage and never a beginning.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from loopwright.core.errors import LogCorrupt

from .files import fsync_directory
from .sqlite_link import begun, connect, damaged, set_pragma, translated

APPLICATION_ID: Final = 0x4C6F6F70
"""Marks a file as an event log of ours, in SQLite's header: the letters "Loop"."""
FORMAT: Final = 2
"""Layout of the log's tables, kept in SQLite's `user_version`. A log of format 1 is brought to it when it is opened."""
SCHEMA: Final = (
    "CREATE TABLE batches (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, "
    "version INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE keys (key BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID",
    "CREATE TABLE trimmed (through INTEGER NOT NULL)",
    "INSERT INTO trimmed VALUES (0)",
)
# `bare_keys` marks a log that was of format 1: some of its keys are of a kind that is not made any more.
UPGRADE: Final = (
    "ALTER TABLE keys ADD COLUMN said BLOB",
    "CREATE TABLE bare_keys (through INTEGER NOT NULL)",
    "INSERT INTO bare_keys SELECT coalesce(max(first + count - 1), 0) FROM batches",
    "PRAGMA user_version = 2",
)
# A damaged record may claim that its body is text.
ROWS: Final = "SELECT first, count, version, crc, CAST(body AS BLOB) FROM batches"
_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_WAL_MAGICS: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\0\0\0\0")
_TAIL_BATCHES: Final = 256
_QUICK_CHECK_BYTES: Final = 32 << 20


def create(path: Path) -> None:
    """Make an empty log under another name and rename it: under its own name it is whole or absent."""
    fresh = Path(f"{path}.new")
    for leftover in (fresh, Path(f"{fresh}-wal"), Path(f"{fresh}-shm")):
        leftover.unlink(missing_ok=True)
    with translated(path, damage=LogCorrupt), closing(connect(fresh)) as connection:
        set_pragma(connection, "journal_mode", "wal")
        set_pragma(connection, "application_id", APPLICATION_ID)
        set_pragma(connection, "user_version", FORMAT)
        with begun(connection):
            for statement in SCHEMA:
                connection.execute(statement)
    # Closing the last connection has moved the write-ahead log into the file, so this one file is the whole
    # log.
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.rename(path)
    fsync_directory(path.parent)


def upgraded(connection: sqlite3.Connection) -> bool:
    """Bring a log of format 1 to the present one, in one transaction; return whether it once was of format 1."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
        with begun(connection):
            for statement in UPGRADE:
                connection.execute(statement)
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'bare_keys'")
    return found.fetchone() is not None


def crc_of(first: int, count: int, version: int, body: bytes) -> int:
    """The header is part of the sum: a batch that moved or lost its count is damaged too."""
    return zlib.crc32(body, zlib.crc32(struct.pack("<QII", first, count, version)))


def check_intact(path: Path, wal: Path) -> None:
    """Raise `LogCorrupt` unless `path` looks like a log we can continue. Reads only, never writes.

    Checks headers, sizes and the newest batches; the pages too while the log is small. `verify` checks all.
    """
    _check_headers(path, wal)
    with (
        translated(path, damage=LogCorrupt),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
    ):
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise damaged(path, "it is an SQLite file, but not an event log of Loopwright")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (1, FORMAT):
            raise LogCorrupt(
                f"{path} has log format {found}; this program reads formats 1 to {FORMAT}: use the release "
                "of Loopwright that wrote it",
                found=found,
                expected=FORMAT,
            )
        if path.stat().st_size <= _QUICK_CHECK_BYTES:
            check_pages(connection, path)
        _check_tail(connection, path)


def _check_headers(path: Path, wal: Path) -> None:
    if not path.exists():
        raise damaged(path, f"it is missing, but {wal.name} is there")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_SQLITE_MAGIC):
        raise damaged(path, "it does not start like an SQLite file")
    wal_header = b""
    if wal.exists():
        with wal.open("rb") as file:
            wal_header = file.read(32)
    if len(wal_header) == 32 and wal_header[:4] not in _WAL_MAGICS:
        # SQLite would take it for empty, and forget what was acknowledged.
        raise damaged(wal, "it does not start like a write-ahead log")
    # File format, section 1.3: bytes 16-17 are the page size, where 1 stands for 65536, and bytes 28-31 the
    # pages.
    page_size, pages = struct.unpack(">H10xI", header[16:32])
    expected = pages * (65536 if page_size == 1 else page_size)
    # While a write-ahead log is there, pages may be in it and not yet in the file.
    if not wal_header and path.stat().st_size < expected:
        raise damaged(path, f"it has {path.stat().st_size} bytes of {expected}: it was cut short")


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `LogCorrupt` unless SQLite finds its pages in order."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)


def _check_tail(connection: sqlite3.Connection, path: Path) -> None:
    newest = connection.execute(f"{ROWS} ORDER BY first DESC LIMIT ?", (_TAIL_BATCHES,)).fetchall()
    trimmed = connection.execute("SELECT through FROM trimmed").fetchone()[0]
    last = newest[-1][0] - 1 if len(newest) == _TAIL_BATCHES else trimmed
    for row in reversed(newest):
        last = check_batch(path, row, follows=last)


def check_batch(path: Path, row: tuple[Any, ...], *, follows: int) -> int:
    """Return the last offset of a batch; raises `LogCorrupt` unless it is whole and comes right after `follows`."""
    check_sum(path, row)
    first, count, *_ = row
    if first != follows + 1:
        raise damaged(path, f"offset {follows} is followed by {first}")
    last: int = first + count - 1
    return last


def check_sum(path: Path, row: tuple[Any, ...]) -> None:
    """Raise `LogCorrupt` unless a batch matches its checksum."""
    first, count, version, crc, body = row
    try:
        matches = crc_of(first, count, version, body) == crc
    except (TypeError, struct.error):  # a damaged record may hold anything
        matches = False
    if not matches:
        raise damaged(path, f"the batch at offset {first} does not match its checksum")
