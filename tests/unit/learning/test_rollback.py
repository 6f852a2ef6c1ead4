from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.learning.world import TENANT, World, arms, experiment, settle

from loopwright.core.errors import Conflict, NotFound, Overloaded


@pytest.fixture
def world() -> Iterator[World]:
    made = World(experiment())
    yield made
    made.close()


def rewarded(world: World, arm: str, value: float) -> None:
    world.reward(world.decide(arm), value)


def test_a_rollback_goes_through_the_log_and_replays(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    kept = learner.take_snapshot(TENANT, "greeting")
    for _ in range(30):
        rewarded(world, "b", 1.0)
    settle(learner)
    offset = learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    settle(learner)
    assert arms(learner) == {"a": (1, 1.0), "b": (0, None), "c": (0, None)}
    assert world.snapshots.get(TENANT, "greeting").offset == offset
    newest = learner.snapshots(TENANT, "greeting")[0]
    assert (newest.version, newest.n) == (offset - 1, 31)
    rewarded(world, "c", 1.0)
    settle(learner)
    assert arms(learner)["c"][0] == 1
    assert learner.dump(TENANT, "greeting") == world.replayed()
    learner.stop()
    assert world.learner().dump(TENANT, "greeting") == world.replayed()


def test_a_rollback_needs_a_kept_version_and_an_experiment_that_learns(world):
    learner = world.learner()
    with pytest.raises(NotFound, match="version 7"):
        learner.roll_back(TENANT, "greeting", version=7, actor="ann")
    learner.take_snapshot(TENANT, "greeting")
    world.move("ended", learner)
    with pytest.raises(Conflict, match="ended"):
        learner.roll_back(TENANT, "greeting", version=0, actor="ann")


def test_a_rollback_that_cannot_be_written_is_refused(world):
    learner = world.learner()
    learner.take_snapshot(TENANT, "greeting")
    world.writer.close()
    with pytest.raises(Overloaded):
        learner.roll_back(TENANT, "greeting", version=0, actor="ann")


def test_a_paused_experiment_is_rolled_back_when_it_is_resumed(world):
    learner = world.learner()
    kept = learner.take_snapshot(TENANT, "greeting")
    rewarded(world, "a", 1.0)
    settle(learner)
    world.move("paused", learner)
    learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    settle(learner)
    assert arms(learner)["a"][0] == 1
    world.move("running", learner)
    settle(learner)
    assert arms(learner)["a"][0] == 0
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_going_back_to_before_an_arm_was_added_keeps_the_arm_and_gives_it_nothing(
    world: World,
) -> None:
    learner = world.learner()
    kept = learner.take_snapshot(TENANT, "greeting")
    learner.stop()
    world.change(experiment(arms=("a", "b", "c", "d")))
    again = settle(world.learner())
    head = world.log.head()
    assert again.roll_back(TENANT, "greeting", version=kept.version, actor="ann") == head + 1
    settle(again)
    assert arms(again)["d"] == (0, None)


def test_taking_a_snapshot_twice_of_one_state_keeps_it_once(world: World) -> None:
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    first = learner.take_snapshot(TENANT, "greeting")
    assert learner.take_snapshot(TENANT, "greeting") == first
    assert [kept.version for kept in learner.snapshots(TENANT, "greeting")] == [first.version]


def test_an_unknown_experiment_has_nothing_to_keep_or_to_go_back_to(world: World) -> None:
    learner = world.learner()
    with pytest.raises(NotFound, match="no experiment 'nothing'"):
        learner.take_snapshot(TENANT, "nothing")
    with pytest.raises(NotFound, match="no experiment 'nothing'"):
        learner.roll_back(TENANT, "nothing", version=0, actor="ann")
