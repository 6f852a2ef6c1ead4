from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from loopwright.backends.files import FolderBlobStore
from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog, memory_database
from loopwright.backends.sqlite import SqliteDatabase, SqliteEventLog
from loopwright.core.ports import BlobStore, Database, EventLog
from loopwright.testing import check_blob_store, check_database, check_event_log


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


def test_the_contract_catches_a_log_that_forgets_its_keys() -> None:
    class Forgetful(MemoryEventLog):
        def taken(self, keys: object) -> set[bytes]:
            return set()

    with pytest.raises(AssertionError):
        check_event_log(Forgetful)
