from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.learning.world import LAZY, TENANT, World, arms, experiment, settle

from loopwright.backends.memory import memory_database
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Broken, NotFound
from loopwright.learning.checkpoints import Checkpoints, Kept
from loopwright.learning.places import Places
from loopwright.learning.publisher import Publisher
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.store import Store
from loopwright.learning.trainer import Trainer
from loopwright.policies import Snapshots


@pytest.fixture
def world() -> Iterator[World]:
    made = World(experiment())
    yield made
    made.close()


def rewarded(world: World, arm: str, value: float) -> None:
    world.reward(world.decide(arm), value)


def test_snapshots_are_kept_by_age_by_rows_and_on_demand(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    assert learner.snapshots(TENANT, "greeting") == []
    taken = learner.take_snapshot(TENANT, "greeting")
    assert (taken.version, taken.n, taken.serving) == (3, 1, True)
    world.clock.advance(seconds=400)
    rewarded(world, "b", 1.0)
    settle(learner)
    listed = learner.snapshots(TENANT, "greeting")
    assert [(s.version, s.n, s.serving) for s in listed] == [(5, 2, True), (3, 1, False)]
    assert [arm.n for arm in learner.snapshot(TENANT, "greeting", version=3).arms] == [1, 0, 0]
    with pytest.raises(NotFound, match="no snapshot of version 4"):
        learner.snapshot(TENANT, "greeting", version=4)


def test_only_the_newest_fifty_snapshots_are_kept(world):
    learner = world.learner()
    for _ in range(55):
        rewarded(world, "a", 1.0)
        settle(learner)
        learner.take_snapshot(TENANT, "greeting")
    versions = [s.version for s in learner.snapshots(TENANT, "greeting")]
    assert len(versions) == 50
    assert (versions[0], versions[-1]) == (111, 13)


class FullDisk(SqliteDatabase):
    """A database on a disk that can be full."""

    is_full = False

    def transaction(self):
        if self.is_full:
            raise Broken("the disk is full")
        return super().transaction()


def test_a_full_disk_delays_the_checkpoint_and_not_the_learning(tmp_path, caplog):
    world = World(experiment())
    world.database = FullDisk(tmp_path / "state.db")
    learner = world.learner()
    world.database.is_full = True
    world.reward(world.decide("a"), 1.0)
    settle(learner)
    served = world.snapshots.get(TENANT, "greeting")
    assert served is not None
    assert served.offset == 3
    learner.stop()
    assert [record.message for record in caplog.records] == ["a checkpoint failed"] * 3
    world.database.is_full = False
    learner.stop()
    assert Store(world.database).position()[0] == 3
    world.close()


class Watch:
    """A stopwatch that each look moves on by `step` seconds, as work between two looks does."""

    def __init__(self) -> None:
        self.now, self.step = 100.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_after_a_slow_checkpoint_the_next_rests_ten_times_as_long(world: World) -> None:
    """So at most a tenth of the time goes into them, however slow the disk."""
    store, watch = Store(memory_database()), Watch()
    kept = Kept(after_s=1e9, after_rows=10**9)
    snapshots = Publisher(Snapshots(), watch, None)
    places = Places(world.reader, store, snapshots, keep=lambda t: None, follow=lambda f: None)
    places.load()
    checkpoints = Checkpoints(store, places, kept, every_s=1.0, stopwatch=watch)
    rewarded(world, "a", 1.0)
    places.read(10)
    watch.step = 2.0
    checkpoints.save_if_due()
    watch.step = 0.0
    saved = store.position()[0]
    assert saved == 3
    rewarded(world, "a", 1.0)
    places.read(10)
    watch.now += 19.9
    checkpoints.save_if_due()
    assert store.position()[0] == saved
    watch.now += 0.2
    checkpoints.save_if_due()
    assert store.position()[0] == saved + 2


def test_rewards_that_are_taken_back_make_a_snapshot_due_as_new_ones_do() -> None:
    kept = Kept(after_s=1e9, after_rows=10)
    trainer = Trainer(experiment(), EmptyShelf())
    trainer.tally.rows = 100
    kept.keep_if_due(trainer, 5)
    assert len(kept.waiting) == 1
    trainer.tally.rows = 91
    kept.keep_if_due(trainer, 5)
    assert len(kept.waiting) == 1
    trainer.tally.rows = 90
    kept.keep_if_due(trainer, 5)
    assert len(kept.waiting) == 2


def test_a_snapshot_that_waits_for_the_checkpoint_is_listed_at_once() -> None:
    world = World(experiment())
    learner = world.learner(LAZY)
    taken = learner.take_snapshot(TENANT, "greeting")
    assert [kept.version for kept in learner.snapshots(TENANT, "greeting")] == [taken.version]
    assert arms(learner)["a"] == (0, None)
    world.close()
