from __future__ import annotations

from contextlib import closing
from pathlib import Path

from loopwright.backends.snapshots import DatabaseSnapshotStore
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.ports import Versioned


def opened(path: Path) -> DatabaseSnapshotStore:
    return DatabaseSnapshotStore(SqliteDatabase(path, synchronous="NORMAL"))


def test_snapshots_and_their_places_outlast_the_process_that_put_them(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s.db")) as store:
        store.put(("acme", "x"), Versioned(1, 7, b"seven"))
        place, _ = store.watch(0, timeout_s=0)
    with closing(opened(tmp_path / "s.db")) as store:
        assert store.get(("acme", "x")) == Versioned(1, 7, b"seven")
        assert store.watch(place, timeout_s=0) == (place, [])
        assert not store.put(("acme", "x"), Versioned(1, 6, b"six"))


def test_one_opener_sees_what_another_puts(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s.db")) as learner, closing(opened(tmp_path / "s.db")) as door:
        assert door.watch(0, timeout_s=0) == (0, [])
        learner.put(("acme", "x"), Versioned(1, 1, b""))
        place, keys = door.watch(0, timeout_s=30)
        assert keys == [("acme", "x")]
        learner.put(("acme", "y"), Versioned(1, 1, b""))
        learner.put(("acme", "x"), Versioned(1, 2, b""))
        assert door.watch(place, timeout_s=30)[1] == [("acme", "y"), ("acme", "x")]


def test_a_closed_store_answers_a_watcher_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.db")
    store.close()
    assert store.watch(0, timeout_s=30) == (0, [])
