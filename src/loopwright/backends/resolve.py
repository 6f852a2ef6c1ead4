"""From a URL to an engine: the one list of the engines there are. Each is imported only when a URL names it.

`sqlite:///FILE` is an event log, `sqlite:///FOLDER` a folder of databases, one file each; `postgresql://…` a server with
one schema for each; `file:///FOLDER` a folder of blobs; `memory:` lasts as long as the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import unquote, urlsplit

from loopwright.core.errors import SettingsInvalid
from loopwright.core.ports import (
    BlobStore,
    Columnar,
    EventLog,
    Lease,
    QueryEngine,
    ScrubbedDatabase,
    SnapshotStore,
)

if TYPE_CHECKING:
    from loopwright.core.ports import Keys

    from .postgres_check import Examined
    from .sqlite_log import Verified

LOADER_MEMORY: Final = "512MB"
"""Merging sorts within it, and on disk beyond: the loader shares the server's machine."""


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, or of a folder of them."""
    return path.absolute().as_uri().replace("file:", "sqlite:", 1)


def file_url(path: Path) -> str:
    """Return the URL of a folder of blobs."""
    return path.absolute().as_uri()


def former_keys(log: EventLog) -> Callable[[Sequence[bytes]], Collection[bytes]] | None:
    """Return what says which of some keys the log has, if it has such as were made until December 2026; else None."""
    return cast("Keys", log).taken if getattr(log, "has_bare_keys", False) else None


def event_log(url: str) -> EventLog:
    """Open the event log at `url`. Raises `SettingsInvalid` for a scheme that is no event log."""
    match _scheme(url):
        case "sqlite":
            from .sqlite_log import SqliteEventLog

            return SqliteEventLog(path_of(url))
        case "memory":
            from .memory import MemoryEventLog

            return MemoryEventLog()
    raise _unknown("log", url, "sqlite:///FILE or memory:")


def database(
    url: str,
    name: str,
    *,
    synchronous: Literal["NORMAL", "FULL"] = "FULL",
    is_private: bool = False,
) -> ScrubbedDatabase:
    """Open the database called `name` at `url`. Raises `SettingsInvalid` for a scheme that is no database.

    `synchronous` NORMAL is for what can be derived again: an embedded engine then saves the sync of each commit.
    """
    match _scheme(url):
        case "sqlite":
            from .sqlite import SqliteDatabase

            return SqliteDatabase(
                path_of(url) / f"{name}.db", synchronous=synchronous, is_private=is_private
            )
        case "postgresql" | "postgres":
            from .postgres import PostgresDatabase  # raises SettingsInvalid without the extra

            return PostgresDatabase(url, schema=f"loopwright_{name}", is_private=is_private)
        case "memory":
            from .memory import memory_database

            return memory_database()
    raise _unknown("database", url, "sqlite:///FOLDER, postgresql://… or memory:")


def blob_store(url: str, name: str) -> BlobStore:
    """Open the blobs called `name` at `url`. Raises `SettingsInvalid` for a scheme that is no blob store."""
    match _scheme(url):
        case "file":
            from .files import FolderBlobStore

            return FolderBlobStore(path_of(url) / name)
        case "memory":
            from .memory import MemoryBlobStore

            return MemoryBlobStore()
    raise _unknown("blobs", url, "file:///FOLDER or memory:")


def snapshot_store(url: str) -> SnapshotStore:
    """Open the store of published snapshots at `url`, a URL of databases. Raises `SettingsInvalid` as `database` does."""
    if _scheme(url) == "memory":
        from .memory import MemorySnapshotStore

        return MemorySnapshotStore()
    from .snapshots import DatabaseSnapshotStore

    # NORMAL: the learner publishes what a power failure takes again.
    return DatabaseSnapshotStore(database(url, "snapshots", synchronous="NORMAL"))


def query_engine(url: str, name: str) -> QueryEngine:
    """Open the engine that answers questions over the parts called `name` at `url`."""
    from .duckdb import DuckDB

    return DuckDB(_folder(url, name))


def loading_engine(url: str, name: str) -> Callable[[], QueryEngine]:
    """Return a function that opens an engine that writes the parts called `name` at `url`."""
    folder = _folder(url, name)

    def opened() -> QueryEngine:
        from .duckdb import DuckDB

        # One thread: the interpreter, which reads and encodes meanwhile, or the server has the other core.
        return DuckDB(folder, memory=LOADER_MEMORY, threads=1, keeps_order=True)

    return opened


def examined(url: str, *, now_ms: int) -> Examined | None:
    """Return what the server at `url` is like, without changing it; None for engines that are files.

    Raises `SettingsInvalid` or `DatabaseUnavailable` when it cannot be reached.
    """
    if _scheme(url) not in ("postgresql", "postgres"):
        return None
    from .postgres_check import examine

    return examine(url, now_ms=now_ms)


def is_absent(url: str, name: str | None = None) -> bool:
    """Return whether an SQLite file is not there yet: opening it would make it. False for a server."""
    path = path_of(url) if name is None else path_of(url) / f"{name}.db"
    return _scheme(url) == "sqlite" and not path.exists()


def verified(url: str) -> Verified | None:
    """Read the whole event log at `url`; return what was found, None for an engine that checks itself.

    Raises `LogCorrupt` at the first damage.
    """
    if _scheme(url) != "sqlite":
        return None
    from .sqlite_log import SqliteEventLog

    with closing(SqliteEventLog(path_of(url))) as log:
        return log.verify()


def damage(url: str, name: str) -> str:
    """Return the damage found in the database called `name`; empty without any, or when its engine checks itself."""
    if _scheme(url) != "sqlite":
        return ""
    with closing(database(url, name)) as opened:
        # Not `integrity_check`, which also compares every index with its table: O(N log N) instead of O(N).
        found = [str(row[0]) for row in opened.query("PRAGMA quick_check")]
    return "" if found == ["ok"] else "; ".join(found[:3])


def columnar() -> Columnar:
    """Return the format of sealed segments and of exports."""
    from .duckdb import Parquet

    return Parquet()


def lease(url: str, name: str) -> Lease:
    """Return a holder of leases among the processes that share the parts called `name` at `url`."""
    from .files import FolderLease

    return FolderLease(_folder(url, name))


def path_of(url: str) -> Path:
    """Return the path in a URL of a file or folder."""
    # `as_uri` escapes spaces and umlauts; opened without this, such a folder would be made anew under its
    # escaped name.
    return Path(unquote(urlsplit(url).path))


def _folder(url: str, name: str) -> Path:
    if _scheme(url) != "file":
        raise _unknown("blobs", url, "file:///FOLDER, for the warehouse reads files where they are")
    return path_of(url) / name


def _scheme(url: str) -> str:
    return urlsplit(url).scheme


def _unknown(what: str, url: str, known: str) -> SettingsInvalid:
    # Only the scheme: the rest may hold a password.
    found = _scheme(url) or "no scheme"
    return SettingsInvalid(f"{what} is a URL with {found}; expected {known}", found=found)
