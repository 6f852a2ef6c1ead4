from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from loopwright.backends.duckdb import DuckDB, Parquet
from loopwright.backends.files import FolderBlobStore, FolderLease
from loopwright.backends.leases import DatabaseLease
from loopwright.backends.memory import (
    MemoryBlobStore,
    MemoryEventLog,
    MemorySnapshotStore,
    memory_database,
)
from loopwright.backends.snapshots import DatabaseSnapshotStore
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.ports import (
    BlobStore,
    Database,
    EventLog,
    Keys,
    KeyTaken,
    Lease,
    Offset,
    SnapshotStore,
)
from loopwright.testing import (
    ManualClock,
    check_blob_store,
    check_columnar,
    check_database,
    check_event_log,
    check_keys,
    check_lease,
    check_query_engine,
    check_snapshot_store,
)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    numbers = count()
    return lambda: tmp_path / str(next(numbers))


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_every_event_log_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def factory() -> EventLog:
        return MemoryEventLog() if backend == "memory" else SqliteEventLog(fresh())

    check_event_log(factory)


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_every_database_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def factory() -> Database:
        return memory_database() if backend == "memory" else SqliteDatabase(fresh())

    check_database(factory)


@pytest.mark.parametrize("backend", ["memory", "folder"])
def test_every_blob_store_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def factory() -> BlobStore:
        return MemoryBlobStore() if backend == "memory" else FolderBlobStore(fresh())

    check_blob_store(factory)


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_every_set_of_keys_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def factory() -> Keys:
        return MemoryEventLog() if backend == "memory" else SqliteEventLog(fresh())

    check_keys(factory)


def test_every_query_engine_keeps_its_contract(fresh: Callable[[], Path]) -> None:
    check_query_engine(lambda: DuckDB(fresh(), keeps_order=True))


def test_every_columnar_format_keeps_its_contract() -> None:
    check_columnar(Parquet)


@pytest.mark.parametrize("backend", ["folder", "database"])
def test_every_lease_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def in_a_folder() -> Callable[[], Lease]:
        folder = fresh()
        return lambda: FolderLease(folder)

    def in_a_database() -> Callable[[], Lease]:
        database, clock, holders = memory_database(), ManualClock(), count()
        return lambda: DatabaseLease(database, clock, holder=f"holder {next(holders)}")

    check_lease(in_a_folder if backend == "folder" else in_a_database)


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_every_snapshot_store_keeps_its_contract(backend: str, fresh: Callable[[], Path]) -> None:
    def factory() -> SnapshotStore:
        if backend == "memory":
            return MemorySnapshotStore()
        return DatabaseSnapshotStore(SqliteDatabase(fresh(), synchronous="NORMAL"))

    check_snapshot_store(factory)


def test_the_contract_catches_a_log_that_forgets_its_keys() -> None:
    class Forgetful(MemoryEventLog):
        def append(self, body: bytes, **told: Any) -> Offset:
            try:
                return super().append(body, **told)
            except KeyTaken:
                return super().append(body, **{**told, "keys": []})

    with pytest.raises(AssertionError):
        check_event_log(Forgetful)
