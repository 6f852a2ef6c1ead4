"""Contract suite of the store of snapshots: what every backend has to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

from loopwright.core.ports import SnapshotStore, Versioned

from .ports import in_threads

LONG_S: Final = 30.0
"""Longer than any of the waits that have to end early."""


def check_snapshot_store(factory: Callable[[], SnapshotStore]) -> None:
    """Check everything `SnapshotStore` promises on empty stores made by `factory`."""
    for check in (
        _an_empty_store_has_nothing,
        _values_come_back,
        _an_older_value_never_replaces_a_newer,
        _an_equally_new_value_replaces,
        _watching_names_each_key_once,
        _a_refused_value_is_no_change,
        _a_place_beyond_the_newest_is_the_beginning,
        _a_put_ends_the_wait,
        _closing_ends_the_wait,
        _the_newest_of_many_writers_stays,
    ):
        with closing(factory()) as store:
            check(store)


_KEY: Final = ("acme", "greeting")


def _an_empty_store_has_nothing(store: SnapshotStore) -> None:
    assert store.get(_KEY) is None
    assert store.watch(0, timeout_s=0) == (0, [])


def _values_come_back(store: SnapshotStore) -> None:
    large = Versioned(1, 2**40, b"\0\xff" * 100_000)
    assert store.put(_KEY, large)
    assert store.put(("rival", "greeting"), Versioned(1, 0, b""))
    assert store.get(_KEY) == large
    assert store.get(("rival", "greeting")) == Versioned(1, 0, b"")
    assert store.get(("acme", "other")) is None


def _an_older_value_never_replaces_a_newer(store: SnapshotStore) -> None:
    assert store.put(_KEY, Versioned(2, 10, b"new"))
    assert not store.put(_KEY, Versioned(2, 9, b"old"))
    assert not store.put(_KEY, Versioned(1, 11, b"old")), "the epoch decides before the version"
    assert store.get(_KEY) == Versioned(2, 10, b"new")
    assert store.put(_KEY, Versioned(3, 5, b"newer"))
    assert store.get(_KEY) == Versioned(3, 5, b"newer")


def _an_equally_new_value_replaces(store: SnapshotStore) -> None:
    place = 0
    for value in (b"first", b"second"):
        assert store.put(_KEY, Versioned(1, 1, value))
        place, keys = store.watch(place, timeout_s=0)
        assert keys == [_KEY]
        assert store.get(_KEY) == Versioned(1, 1, value)


def _watching_names_each_key_once(store: SnapshotStore) -> None:
    for name in ("a", "b", "a"):
        store.put(("acme", name), Versioned(1, 1, b""))
    place, keys = store.watch(0, timeout_s=LONG_S)
    assert sorted(keys) == [("acme", "a"), ("acme", "b")]
    assert store.watch(place, timeout_s=0) == (place, [])
    store.put(("acme", "b"), Versioned(1, 2, b""))
    later, keys = store.watch(place, timeout_s=LONG_S)
    assert later > place
    assert keys == [("acme", "b")]


def _a_refused_value_is_no_change(store: SnapshotStore) -> None:
    store.put(_KEY, Versioned(1, 2, b"new"))
    place, _ = store.watch(0, timeout_s=0)
    store.put(_KEY, Versioned(1, 1, b"old"))
    assert store.watch(place, timeout_s=0) == (place, [])


def _a_place_beyond_the_newest_is_the_beginning(store: SnapshotStore) -> None:
    store.put(_KEY, Versioned(1, 1, b""))
    # As after the loss of an engine that keeps all in memory: a door must not wait until the places have caught up.
    place, keys = store.watch(1_000_000, timeout_s=LONG_S)
    assert keys == [_KEY]
    assert store.watch(place, timeout_s=0) == (place, [])


def _a_put_ends_the_wait(store: SnapshotStore) -> None:
    seen: list[object] = []
    watcher = threading.Thread(target=lambda: seen.extend(store.watch(0, timeout_s=LONG_S)[1]))
    watcher.start()
    store.put(_KEY, Versioned(1, 1, b""))
    watcher.join(LONG_S / 2)
    assert seen == [_KEY]


def _closing_ends_the_wait(store: SnapshotStore) -> None:
    watcher = threading.Thread(target=lambda: store.watch(0, timeout_s=LONG_S))
    watcher.start()
    store.close()
    watcher.join(LONG_S / 2)
    assert not watcher.is_alive()


def _the_newest_of_many_writers_stays(store: SnapshotStore) -> None:
    # Looking first and storing afterwards would let a writer that was overtaken bring back its older value.
    def write(thread: int) -> None:
        for n in range(20):
            version = n * 4 + thread
            store.put(_KEY, Versioned(1, version, b"%d" % version))

    in_threads(write, 4)
    assert store.get(_KEY) == Versioned(1, 79, b"79")
