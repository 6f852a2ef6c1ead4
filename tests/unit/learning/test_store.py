from __future__ import annotations

from typing import Any

import pytest
from tests.unit.learning.world import World, experiment, settle

from loopwright.backends.memory import memory_database
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Broken
from loopwright.learning.memory import Remembered
from loopwright.learning.store import Checkpoint, Saved, Snapshot, Store

KEY = ("default", "greeting")


def checkpoint(through: int = 1, **parts) -> Checkpoint:
    empty: dict[str, Any] = {
        "states": {},
        "controls": {},
        "remembered": {},
        "forgotten": {},
        "spent": {},
        "snapshots": [],
    }
    return Checkpoint(through=through, event_ms=through * 10, **{**empty, **parts})


def waiting(due_ms: int | None, forget_ms: int | None = None) -> Remembered:
    return Remembered(1, 0.5, b"x" * 8, 7, forget_ms=forget_ms, due_ms=due_ms)


def test_a_checkpoint_reads_back_from_its_file(tmp_path):
    database = SqliteDatabase(tmp_path / "state.db")
    saved = Saved(b"state", b"tally", 3, 2, (1, 10))
    snapshot = Snapshot.of(b"state", version=3, taken_at_ms=5, n=9, policy="BetaThompson")
    Store(database).save(checkpoint(4, states={KEY: saved}, snapshots=[(KEY, snapshot)]))
    database.close()
    database = SqliteDatabase(tmp_path / "state.db")
    store = Store(database)
    assert store.position() == (4, 40)
    assert store.states() == {KEY: saved}
    assert store.snapshot(KEY, 3) == snapshot
    assert store.snapshot(KEY, 4) is None
    database.close()


def test_a_checkpoint_is_all_or_nothing():
    store = Store(memory_database())
    store.save(checkpoint(1, states={KEY: Saved(b"old", b"", 1, 0)}))
    bad = Snapshot(
        version=2,
        taken_at_ms=1,
        n=1,
        policy=None,  # type: ignore[arg-type]  # what the row refuses
        digest="",
        size_bytes=0,  # violates NOT NULL
    )
    with pytest.raises(Exception, match="NOT NULL"):
        store.save(checkpoint(2, states={KEY: Saved(b"new", b"", 2, 0)}, snapshots=[(KEY, bad)]))
    assert store.position() == (1, 10)
    assert store.states()[KEY].state == b"old"


def test_the_shelf_finds_what_is_due_and_forgets_what_is_past():
    store = Store(memory_database())
    rows = {"a": waiting(50, 90), "b": waiting(20, 60), "c": waiting(None, 40), "d": waiting(None)}
    store.save(checkpoint(remembered={KEY: rows}))
    shelf = store.shelf(KEY)
    assert dict(shelf.get(["a", "d", "x"])) == {"a": rows["a"], "d": rows["d"]}
    assert [id for id, _ in shelf.waiting(51, after=(-1, ""), limit=9)] == ["b", "a"]
    assert [id for id, _ in shelf.waiting(51, after=(20, "b"), limit=9)] == ["a"]
    assert (shelf.next_due_ms(0), shelf.next_due_ms(21), shelf.next_due_ms(51)) == (20, 50, None)
    store.save(checkpoint(2, remembered={KEY: {"a": None}}, forgotten={KEY: 70}))
    # What still waits is closed before it is forgotten.
    assert [id for id, _ in shelf.get(["a", "b", "c", "d"])] == ["b", "d"]


def test_a_state_that_cannot_be_read_says_what_to_do():
    database = memory_database()
    store = Store(database)
    with database.transaction() as session:
        session.execute("INSERT INTO states VALUES (?, ?, ?)", (*KEY, b"\xc1"))
    with pytest.raises(Broken, match="learns again from the log"):
        store.states()


def test_a_state_with_other_arms_is_refused():
    world = World(experiment())
    learner = world.learner()
    world.reward(world.decide("a"), 1.0)
    settle(learner).stop()
    world.change(experiment(arms=("x", "y")))
    again = settle(world.learner())
    assert "begins with" in again.views.degraded()[KEY]
    world.close()
