"""What the slices need of an engine, in the engine's own words.

Each port has at most six verbs, at least two backends, and one contract suite in `loopwright.testing` that
every backend passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec


class Batch(msgspec.Struct, frozen=True):
    """A run of records as the log stored it."""

    first: int
    """Offset of the first record; the others follow without gaps."""
    count: int
    version: int
    """Schema version the body was written in."""
    body: bytes

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return self.first + self.count - 1


class Committed(msgspec.Struct, frozen=True):
    """What became of one submission, now durable."""

    first_offset: int | None
    """Offset of the first fact stored; the others follow without gaps. None when all were duplicates."""
    duplicates: list[bool]
    """For each submitted fact, whether its key was already taken; such facts are not stored."""


class EventLog(Protocol):
    """Durable, append-only batches of records with gapless offsets from 1, and a set of unique keys."""

    def append(self, body: bytes, *, count: int, version: int, keys: Sequence[bytes]) -> int:
        """Store one batch and its keys in one durable step; return its first offset.

        All or nothing: raises `KeyTaken`, storing nothing, when any key is already there. Keys within one
        call are distinct. Raises `DiskFull` when the disk refuses.
        """
        ...

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are already stored."""
        ...

    def read(self, after: int, *, limit: int) -> list[Batch]:
        """Return whole batches that hold records beyond offset `after`, oldest first.

        Stops once `limit` records are reached; the last batch may run past it. Raises `LogCorrupt` when a
        body does not match its checksum.
        """
        ...

    def head(self) -> int:
        """Return the offset of the newest record; 0 when there is none."""
        ...

    def trim(self, through: int) -> int:
        """Drop whole batches whose last offset is at most `through`; keys stay. Return records dropped."""
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


class KeyTaken(Exception):
    """An append was refused as a whole because one of its keys is already stored."""


class Session(Protocol):
    """One open transaction."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return the number of rows it changed."""
        ...

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each row; return the number of rows changed."""
        ...

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...


class Database(Protocol):
    """Tables and transactions, in the SQL that SQLite and PostgreSQL share; parameters are `?`."""

    def transaction(self) -> AbstractContextManager[Session]:
        """Open a transaction: committed at the end of the block, rolled back by an exception.

        Transactions take turns, so what one has read stays true until its end. An error of a statement has to end
        the block. A thread has one open at most: raises `RuntimeError` at a second one.
        """
        ...

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query outside any transaction; it only reads.

        Within a transaction of the same thread it sees what that has written so far.
        """
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


class BlobStore(Protocol):
    """Named immutable bytes."""

    def put(self, name: str, content: bytes) -> bool:
        """Store `content` durably under `name`; False, changing nothing, when the name is taken."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the stored names that start with `prefix`, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove `name` if it is there."""
        ...
