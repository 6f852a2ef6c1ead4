"""What the slices need of an engine, in the engine's own words.

Each port has at most six verbs and one contract suite that every backend passes, in `loopwright.testing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NewType, Protocol, Self

import msgspec

Offset = NewType("Offset", int)
"""A position in an event log: 0 before the first record, then growing with each.

Offsets are compared and stored. Only the log and the package `eventlog` count with them: a log in partitions, or one
whose transactions leave gaps, still has an order, but the distance of two offsets says nothing there. Code that
needs a number of records counts records.
"""

START: Offset = Offset(0)
"""The offset before every record."""


class Batch(msgspec.Struct, frozen=True):
    """A run of records as the log stored it."""

    first: Offset
    """Offset of the first record."""
    count: int
    version: int
    """Schema version the body was written in."""
    body: bytes

    @property
    def last(self) -> Offset:
        """Offset of the last record. The records of one batch, and only those, are numbered without gaps."""
        return Offset(self.first + self.count - 1)


class Mark(bytes):
    """A key in the log, and what the log compares under it. Marks are equal when their keys are.

    A bare key says nothing of its content: whatever is stored under it, a fact with the same key is a duplicate.
    """

    content: bytes = b""
    """Eight bytes that stand for what the fact says."""
    id: bytes = b""
    """Who holds the key, at most 16 bytes: other content under the same id is a conflict, under another id a duplicate."""
    revises: bool = False
    """Whether other content takes the key over instead: then only the latest content is repeated, not an earlier one."""
    rides: bool = False
    """Whether the fact follows from the one before it in its submission, and is stored only together with that one."""
    inside: bool = False
    """Whether the fact came inside the latest fact before it that did not, and is refused when that one conflicts."""

    def __new__(
        cls,
        key: bytes,
        content: bytes,
        *,
        id: bytes = b"",
        revises: bool = False,
        rides: bool = False,
        inside: bool = False,
    ) -> Self:
        """Return `key` with what is to be compared under it."""
        made = super().__new__(cls, key)
        made.content = content
        # What is as the class has it is not set: a mark is made for every fact.
        if id:
            made.id = id
        if revises:
            made.revises = True
        if rides:
            made.rides = True
        if inside:
            made.inside = True
        return made

    def under(self, key: bytes, *, revises: bool) -> Mark:
        """Return the same under another key."""
        return Mark(
            key, self.content, id=self.id, revises=revises, rides=self.rides, inside=self.inside
        )


class Committed(msgspec.Struct, frozen=True):
    """What became of one submission, now durable."""

    first_offset: int | None
    """Offset of the first fact stored; the others follow without gaps. None when none was stored."""
    duplicates: list[bool]
    """For each submitted fact, whether its key was already taken; such facts are not stored."""
    conflicts: frozenset[int] = frozenset()
    """Places of those whose key is taken by other content, or that came inside one of these."""
    known: Mapping[int, bytes] = {}
    """For duplicates of marks that revise, by place: the `Mark.id` of the fact that was stored before."""

    def offsets(self) -> list[Offset | None]:
        """Return the offset of each submitted fact; None for those that were not stored."""
        following = self.first_offset or START
        found: list[Offset | None] = []
        for is_duplicate in self.duplicates:
            found.append(None if is_duplicate else Offset(following))
            # Facts of one commit, and only those, are numbered without gaps.
            following += not is_duplicate
        return found


Fresh = Sequence[bytes] | Mapping[bytes, bytes | None]
"""Keys to be stored, with what is kept beside each; a bare sequence keeps nothing beside them."""

Revised = Mapping[bytes, tuple[bytes | None, bytes]]
"""For keys that are stored, what is kept beside them and what replaces it: a comparison, so that two writers agree."""


class EventLog(Protocol):
    """Durable, append-only batches of records, in one order."""

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

        A mapping of keys has up to 24 bytes for each that are kept beside it, or None; `revised` replaces those of keys
        that are there. All or nothing: raises `KeyTaken`, storing nothing, when a key is already there, or when one of
        `revised` does not have what is to be replaced. Keys within one call are distinct. Raises `DiskFull` when the
        disk refuses.
        """
        ...

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        """Return whole batches that hold records beyond offset `after`, oldest first.

        Stops once `limit` records are reached; the last batch may run past it. Raises `LogCorrupt` when a
        body does not match its checksum.
        """
        ...

    def head(self) -> Offset:
        """Return the offset of the newest record; 0 when there is none."""
        ...

    def trim(self, through: Offset) -> int:
        """Drop whole batches whose last offset is at most `through`; keys stay. Return records dropped."""
        ...

    def replace(self, batches: Iterable[Batch]) -> bool:
        """Put the body and version of each of `batches` in the place of those of the batch with its first offset.

        For erasure only. Once it returns True, what stood there before, and what was trimmed, is in no file of the
        log; a reader may see some of the batches replaced and others not yet. False when something still reads the
        old bytes: call again, without batches. A batch that is not there or has another count is left out.
        """
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


# No `LoopError`: it never reaches a user. The writer takes the stored keys out and appends the rest.
class KeyTaken(Exception):
    """An append was refused as a whole because some of its keys are already stored: `keys`, and `said`, what is kept beside them."""

    def __init__(self, keys: Mapping[bytes, bytes | None] | Iterable[bytes]) -> None:
        self.said = dict(keys) if isinstance(keys, Mapping) else dict.fromkeys(keys)
        self.keys = frozenset(self.said)
        super().__init__(f"{len(self.keys)} of the keys are already stored")


class Keys(Protocol):
    """A set of unique keys, for logs whose `append` cannot check them in its own transaction."""

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Store those of `keys` that are new, durably and in one step; return those that were there before."""
        ...

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are already stored."""
        ...


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


class ScrubbedDatabase(Database, Protocol):
    """A database that can also make what was deleted disappear from its files."""

    def rewrite(self) -> bool:
        """Write everything anew, so that no deleted row is left; False, leaving it for `scrub`, while it is in use."""
        ...

    def scrub(self) -> bool:
        """Do what is left of a rewrite, and empty logs that hold deleted rows; False when some had to stay."""
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


SnapshotKey = tuple[str, str]
"""Tenant id, and a name within the tenant."""


class Versioned(msgspec.Struct, frozen=True):
    """A value and how new it is: first by `epoch`, and within one epoch by `version`."""

    epoch: int
    version: int
    value: bytes

    def precedes(self, other: Versioned) -> bool:
        """Return whether this is older than `other`."""
        return (self.epoch, self.version) < (other.epoch, other.version)


class SnapshotStore(Protocol):
    """The newest value of each key, which an older one never replaces, whoever puts it and whenever.

    Values can be made again: a store may lose what was put last, so it need not wait for a disk.
    """

    def put(self, key: SnapshotKey, snapshot: Versioned) -> bool:
        """Store `snapshot` unless a newer one is there: then return False, changing nothing. Equally new replaces."""
        ...

    def get(self, key: SnapshotKey) -> Versioned | None:
        """Return the newest value of `key`; None when there never was one."""
        ...

    def watch(self, after: int, *, timeout_s: float) -> tuple[int, list[SnapshotKey]]:
        """Wait until something was put after the place `after`, at most `timeout_s` seconds.

        Returns the newest place and each key that was put since, once. 0 is the place before everything, and a
        place that the store has not reached, as it lost what it had, counts as 0.
        """
        ...

    def close(self) -> None:
        """Release the engine; whoever watches returns."""
        ...


class Stored(msgspec.Struct, frozen=True):
    """A part as an engine stored it."""

    rows: int
    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""


class QueryEngine(Protocol):
    """SQL over immutable Parquet parts in one place, and over tables of its own that end with it.

    Its SQL has the function `digest63(text)`: a whole number from 0 below 2^63, the same in every engine: the upper 63 bits
    of MD5, its bytes read from last to first. Any thread may call, one at a time. Raises `DiskFull`, `Unavailable`,
    and `PartCorrupt` for a part that is missing or cannot be read.
    """

    def load(
        self, columns: Mapping[str, str], lines: Sequence[bytes]
    ) -> AbstractContextManager[str]:
        """Hold rows where the engine reads them, for the length of a block, and yield the SELECT of them, in their order.

        Each of `lines` is a JSON object with some of `columns`; `columns` gives the types.
        """
        ...

    def query(
        self, sql: str, params: Any = (), *, threads: int | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement, with at most `threads` threads; return its rows.

        `params` are a sequence for `?`, or a mapping for `$name`.
        """
        ...

    def write(self, sql: str, name: str) -> Stored | None:
        """Store the rows of a SELECT, in its order, as the part `name`, durably; None, storing nothing, without rows."""
        ...

    def read(self, names: Sequence[str], columns: Sequence[str]) -> str:
        """Return the SELECT of `columns` of the parts `names`; there is at least one."""
        ...

    def digest(self, name: str) -> str | None:
        """Read the whole part and return its SHA-256, hexadecimal; None when it is missing."""
        ...

    def close(self) -> None:
        """Release the engine, its tables and its scratch files."""
        ...


class Columnar(Protocol):
    """Rows as one file of typed columns that other tools can read."""

    def encode(self, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> bytes:
        """Return the file that holds `rows`; `columns` gives names and SQL types."""
        ...

    def encode_lines(self, columns: Mapping[str, str], lines: Iterable[bytes]) -> bytes:
        """Return the file that holds rows given as JSON objects, each with some of `columns`; there may be none."""
        ...

    def decode(
        self, content: bytes, columns: Sequence[str], *, after: int
    ) -> list[tuple[Any, ...]]:
        """Return `columns` of the rows whose first column is greater than `after`, in its order.

        Raises `PartCorrupt` when `content` is no such file.
        """
        ...


class Lease(Protocol):
    """The right of one holder at a time to do what a name stands for. Every instance is a holder of its own.

    The epoch fences: it grows each time a name is acquired, so code that stores it with a result can refuse the results
    of a holder that was too slow to notice that its time was over.
    """

    def acquire(self, name: str, *, ttl_s: float) -> int | None:
        """Take the lease for `ttl_s` seconds; return its epoch, or None while another holds it."""
        ...

    def renew(self, name: str, epoch: int, *, ttl_s: float) -> bool:
        """Hold it for `ttl_s` seconds from now; False when it is lost: then stop at once."""
        ...

    def release(self, name: str, epoch: int) -> None:
        """Let it go; nothing happens when it is already lost."""
        ...
