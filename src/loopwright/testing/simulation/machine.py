"""The machine that a simulated process runs on: engines that implement the ports in memory and survive the process.

A call of an engine is a point: another thread may run there, the process may end there, before the effect or after it,
and the engine may refuse there. A loss of power takes only what no engine promised to keep: the latest commits of
a database that is not synchronous.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loopwright.backends import files
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Broken, DiskFull
from loopwright.core.ports import Batch, BlobStore, Session

from .kernel import active, simulated

if TYPE_CHECKING:
    from loopwright.core.ports import Fresh, Offset, Revised

Refusal = Callable[[], Exception]
_Statement = tuple[str, Sequence[Any], bool]

REFUSALS: Final[tuple[Refusal, ...]] = (
    lambda: DiskFull("the simulated disk is full"),
    lambda: Broken("the simulated disk cannot be read"),
    lambda: OSError(errno.EIO, "the simulated disk fails"),
    lambda: OSError(errno.EACCES, "the simulated disk is closed to us"),
)
"""What a folder may raise."""

_REAL_FOLDERS: Final = ("warehouse",)
"""Blobs that DuckDB writes and reads as files."""

_translated: Final = getattr(files, "translated", nullcontext)

SIGNING_KEYS: Final = "signing keys"
"""A real file, replaced whole."""

_DATABASE_REFUSALS: Final = REFUSALS[:2]
"""What an engine that translates its errors may raise."""


class Tables(SqliteDatabase):
    """Tables in memory that can be copied whole."""

    def __init__(self, image: bytes | None = None) -> None:
        super().__init__(":memory:")
        if image is not None:
            self._connection.deserialize(image)

    def image(self) -> bytes:
        """Return a copy of all that is committed."""
        return self._connection.serialize()


class Records(MemoryEventLog):
    """A log in memory that can be copied whole."""

    def copy(self) -> Records:
        """Return a log of its own with the same records and keys."""
        made = Records()
        # Batches are immutable, so copying the list is a copy of the log.
        made._batches, made._keys = list(self._batches), dict(self._keys)
        made._head = self._head
        return made


class Machine:
    """The storage outside the process, by the name of its file or folder; it begins as a copy of `like`.

    `refuse` makes an engine fail; `lose_power` takes what was not synced.
    """

    def __init__(self, like: Machine | None = None) -> None:
        self._images = {} if like is None else like.images()
        self.logs: dict[str, Records] = {}
        if like is not None:
            self.logs = {name: log.copy() for name, log in like.logs.items()}
        self.tables: dict[str, Tables] = {}
        self.blobs: dict[str, MemoryBlobStore] = {}
        self._copied: dict[str, bytes] | None = None
        # Statements since the image. Losing power is replaying fewer of them: SQLite cannot undo a commit.
        self._redo: dict[str, list[list[_Statement]]] = {}
        self._refusals: dict[str, tuple[Refusal, int]] = {}
        self.connections: list[Any] = []
        """Connections of the engine of reports, which a process that ends leaves open."""
        self.refused = 0
        """Calls that were refused so far."""

    def engines(self) -> list[tuple[Sequence[str], tuple[Refusal, ...]]]:
        """Return the names of the logs, the databases and the blob stores, and the file of signing keys: each kind with what it may raise."""
        return [
            (sorted(self.logs), _DATABASE_REFUSALS),
            (sorted(self.tables), _DATABASE_REFUSALS),
            (sorted({*self.blobs, *_REAL_FOLDERS}), REFUSALS),
            ([SIGNING_KEYS], REFUSALS[2:]),
        ]

    def refuse(self, engine: str, refusal: Refusal, *, calls: int) -> None:
        """Let the next `calls` calls of `engine` fail."""
        self._refusals[engine] = (refusal, calls)

    def repair(self) -> None:
        """Let every engine work again."""
        self._refusals.clear()

    def call(self, engine: str, verb: str) -> None:
        """Pass the point of an engine's call; raises the refusal that is planned for it."""
        kernel = active()
        # Outside a simulated thread no engine refuses.
        if kernel is None:
            return
        # The point comes first: a crash there is a call that never reached the engine.
        kernel.point(f"{engine} {verb}")
        planned = self._refusals.get(engine)
        # Closing never fails here: what is stored stays the same, so nothing could be found.
        if planned is not None and verb != "close":
            refusal, left = planned
            if left <= 1:
                del self._refusals[engine]
            else:
                self._refusals[engine] = (refusal, left - 1)
            self.refused += 1
            raise refusal()

    def log(self, name: str) -> Records:
        """Return the event log of that name, made when it is not there."""
        return self.logs.setdefault(name, Records())

    def database(self, name: str) -> Tables:
        """Return the tables of that name, made when they are not there."""
        if name not in self.tables:
            self.tables[name] = Tables(self._images.get(name))
        return self.tables[name]

    def blob_store(self, name: str) -> MemoryBlobStore:
        """Return the blobs of that name, made when they are not there."""
        return self.blobs.setdefault(name, MemoryBlobStore())

    def committed(self, name: str, statements: list[_Statement]) -> None:
        """Note a commit that a loss of power may take."""
        self._redo.setdefault(name, []).append(statements)

    def images(self) -> dict[str, bytes]:
        """Return a copy of every database."""
        if self._copied is None:
            self._copied = {name: tables.image() for name, tables in self.tables.items()}
        return dict(self._copied)

    def disconnect(self) -> None:
        """Close what the process left open."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    def lose_power(self, rng: random.Random) -> int:
        """Take the latest commits of the databases that do not sync each; return how many."""
        lost = 0
        for name, redo in self._redo.items():
            # A suffix and no selection: a write-ahead log that was not synced loses its end.
            keep = rng.randint(max(0, len(redo) - 12), len(redo))
            if keep == len(redo):
                continue
            lost += len(redo) - keep
            del redo[keep:]
            self.tables[name].close()
            self.tables[name] = rebuilt = Tables(self._images.get(name))
            for statements in redo:
                _repeat(rebuilt, statements)
        return lost


class SimulatedLog:
    """An event log whose appends are durable when they return."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine, self._name = machine, name
        self._kept = machine.log(name)

    def append(
        self,
        body: bytes,
        *,
        count: int,
        version: int,
        keys: Fresh,
        revised: Revised | None = None,
    ) -> Offset:
        """Store one batch and its keys in one durable step; return its first offset."""
        self._machine.call(self._name, "append")
        first = self._kept.append(body, count=count, version=version, keys=keys, revised=revised)
        # A crash here is the case that clients fear: stored, and never answered.
        _after(self._name, "appended")
        return first

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are already stored."""
        self._machine.call(self._name, "taken")
        return self._kept.taken(keys)

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        """Return whole batches that hold records beyond offset `after`, oldest first."""
        self._machine.call(self._name, "read")
        return self._kept.read(after, limit=limit)

    def head(self) -> Offset:
        """Return the offset of the newest record; 0 when there is none."""
        self._machine.call(self._name, "head")
        return self._kept.head()

    def trim(self, through: Offset) -> int:
        """Drop whole batches whose last offset is at most `through`; return records dropped."""
        self._machine.call(self._name, "trim")
        dropped = self._kept.trim(through)
        _after(self._name, "trimmed")
        return dropped

    def replace(self, batches: Iterable[Batch]) -> bool:
        """Put other bodies in the place of those of batches."""
        for batch in batches:
            self._machine.call(self._name, "replace")
            self._kept.replace([batch])
        return True

    def close(self) -> None:
        """Release the engine."""


class SimulatedDatabase:
    """Tables whose commits survive the end of the process, and a loss of power unless `synchronous` is NORMAL."""

    def __init__(self, machine: Machine, name: str, *, is_synced: bool) -> None:
        self._machine, self._name, self._is_synced = machine, name, is_synced
        self._kept = machine.database(name)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction: committed at the end of the block, rolled back by an exception."""
        self._machine.call(self._name, "begin")
        statements: list[_Statement] = []
        with self._kept.transaction() as session:
            yield _Recording(session, statements)
            # Within the block: a refusal here rolls back, as a full disk does.
            self._machine.call(self._name, "commit")
        if not self._is_synced and statements:
            self._machine.committed(self._name, statements)
        _after(self._name, "committed")

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        self._machine.call(self._name, "query")
        return self._kept.query(sql, params)

    def rewrite(self) -> bool:
        """Take the place of `SqliteDatabase.rewrite`."""
        self._machine.call(self._name, "rewrite")
        return True

    def scrub(self) -> bool:
        """Take the place of `SqliteDatabase.scrub`."""
        self._machine.call(self._name, "scrub")
        return True

    def close(self) -> None:
        """Release the engine; what it keeps stays with the machine."""


class _Recording:
    """A session that notes what changes."""

    def __init__(self, session: Session, statements: list[_Statement]) -> None:
        self._session, self._statements = session, statements

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return the number of rows it changed."""
        self._statements.append((sql, params, False))
        return self._session.execute(sql, params)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each row; return the number of rows changed."""
        # An iterator would be used up by the first run and replay as nothing.
        rows = list(rows)
        self._statements.append((sql, rows, True))
        return self._session.executemany(sql, rows)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._session.query(sql, params)


class SimulatedBlobs:
    """Blobs that are durable when `put` returns."""

    def __init__(self, machine: Machine, name: str, kept: BlobStore) -> None:
        self._machine, self._name, self._kept = machine, name, kept

    def put(self, name: str, content: bytes) -> bool:
        """Store `content` durably under `name`; False, changing nothing, when the name is taken."""
        self._call("put")
        is_new = self._kept.put(name, content)
        _after(self._name, "stored")
        return is_new

    def get(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        self._call("get")
        return self._kept.get(name)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the stored names that start with `prefix`, sorted."""
        self._call("names")
        yield from list(self._kept.names(prefix))

    def delete(self, name: str) -> None:
        """Remove `name` if it is there."""
        self._call("delete")
        self._kept.delete(name)
        _after(self._name, "deleted")

    def _call(self, verb: str) -> None:
        # As the engine of the code under test does: that of November passed on what the system raised.
        with _translated(Path(self._name)):
            self._machine.call(self._name, verb)


class SimulatedLock:
    """Holds a data directory for the one process that there is."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory

    def release(self) -> None:
        """Let the directory go."""


def log_of(machine: Machine, path: str | Path, **_: object) -> SimulatedLog:
    """Take the place of `SqliteEventLog`."""
    return SimulatedLog(machine, Path(path).name)


def database_of(
    machine: Machine,
    path: str | Path,
    *,
    synchronous: Literal["NORMAL", "FULL"] = "FULL",
    is_private: bool = False,
) -> SimulatedDatabase:
    """Take the place of `SqliteDatabase`."""
    return SimulatedDatabase(machine, Path(path).name, is_synced=synchronous == "FULL")


def blobs_of(machine: Machine, root: str | Path) -> SimulatedBlobs:
    """Take the place of `FolderBlobStore`, whose folder stays where an engine of its own writes the files."""
    name = Path(root).name
    # DuckDB reads files by itself, so its blobs must be files; they survive every crash.
    kept = FolderBlobStore(root) if name in _REAL_FOLDERS else machine.blob_store(name)
    return SimulatedBlobs(machine, name, kept)


def _after(engine: str, verb: str) -> None:
    if active() is not None:
        simulated().point(f"{engine} {verb}")


def _repeat(tables: Tables, statements: list[_Statement]) -> None:
    with tables.transaction() as session:
        for sql, params, is_many in statements:
            (session.executemany if is_many else session.execute)(sql, params)
