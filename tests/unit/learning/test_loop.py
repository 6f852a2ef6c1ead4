from __future__ import annotations

import gc

import msgspec
import pytest
from tests.unit.learning.world import EAGER, LAZY, TENANT, World, arms, experiment, settle

from loopwright.backends.memory import MemoryEventLog
from loopwright.core.errors import Broken
from loopwright.core.events import Decided
from loopwright.core.experiment import Arm
from loopwright.eventlog import Reader


@pytest.fixture
def world():
    made = World(experiment())
    yield made
    made.close()


def rewarded(world: World, arm: str, value: float, **fields) -> None:
    world.reward(world.decide(arm, **fields), value)


def test_a_running_experiment_is_served_before_it_has_learned_anything(world):
    world.learner()
    published = world.snapshots.get(TENANT, "greeting")
    assert published.offset == 0
    assert published.served.law(None) == pytest.approx([1 / 3] * 3)


def test_feedback_is_learned_published_and_reported(world):
    learner = world.learner()
    for _ in range(20):
        rewarded(world, "b", 1.0)
        rewarded(world, "a", 0.0)
    settle(learner)
    published = world.snapshots.get(TENANT, "greeting")
    assert published.offset == world.log.head() == 81
    assert max(published.served.law(None)) == published.served.law(None)[1] > 0.8
    status = learner.status(TENANT, "greeting")
    assert (status.decisions, status.feedback, status.whole) == (40, 40, 40)
    assert (status.snapshot, status.head, status.learner) == (81, 81, "learning")
    assert [(arm.n, arm.decisions) for arm in status.arms] == [(20, 20), (20, 20), (0, 0)]
    assert status.arms[1].share == pytest.approx(published.served.law(None)[1])


def test_an_unlogged_decision_still_teaches_by_its_feedback(world):
    learner = world.learner()
    world.reward(world.decision("a"), 1.0)
    settle(learner)
    assert arms(learner)["a"][0] == 1
    assert learner.status(TENANT, "greeting").decisions == 0


def test_a_restart_goes_on_from_the_checkpoint(world):
    learner = settle(world.learner())
    rewarded(world, "b", 1.0)
    settle(learner)
    before = learner.dump(TENANT, "greeting")
    learner.stop()
    again = world.learner()
    assert again.offset == 3
    assert again.dump(TENANT, "greeting") == before
    assert world.snapshots.get(TENANT, "greeting").offset == 3


@pytest.mark.parametrize("pace", [EAGER, LAZY], ids=["saved", "never saved"])
def test_a_crash_between_training_and_checkpoint_comes_to_the_same_state(world, pace):
    learner = world.learner(pace)
    for i in range(10):
        rewarded(world, "abc"[i % 3], float(i % 2))
        learner.step()
    crashed = learner.dump(TENANT, "greeting")
    del learner
    gc.collect()
    assert settle(world.learner()).dump(TENANT, "greeting") == crashed == world.replayed()


def test_two_experiments_learn_apart_and_an_unknown_one_is_counted():
    world = World(experiment(), experiment("other"))
    learner = world.learner()
    rewarded(world, "a", 1.0)
    rewarded(world, "b", 1.0, id="other")
    rewarded(world, "b", 1.0, id="deleted")
    settle(learner)
    assert (arms(learner)["a"][0], arms(learner, "other")["b"][0]) == (1, 1)
    assert (arms(learner)["b"][0], learner.unknown) == (0, 1)
    world.close()


def test_an_experiment_that_starts_later_is_met_in_the_log(world):
    learner = world.learner()
    world.change(experiment("late", state="draft"))
    world.change(experiment("late"))
    rewarded(world, "b", 1.0, id="late")
    settle(learner)
    assert arms(learner, "late")["b"][0] == 1
    assert world.snapshots.get(TENANT, "late").offset == 5


def test_a_paused_experiment_keeps_its_facts_and_learns_them_once_when_resumed(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    world.move("paused", learner)
    assert world.snapshots.get(TENANT, "greeting") is None
    for _ in range(5):
        rewarded(world, "a", 1.0)
    settle(learner)
    assert arms(learner)["a"][0] == 1
    assert learner.status(TENANT, "greeting").learner == "paused"
    assert learner.views.positions()[TENANT, "greeting"] == 4  # where the fact is that paused it
    world.move("running")
    assert not learner.caught_up(world.log.head())
    settle(learner)
    rewarded(world, "a", 1.0)
    settle(learner)
    assert learner.caught_up(world.log.head())
    assert arms(learner)["a"][0] == 7
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_a_pause_outlives_restarts_and_crashes(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    world.move("paused", learner)
    rewarded(world, "a", 0.0)
    settle(learner).stop()
    learner = world.learner()
    rewarded(world, "a", 0.0)
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)
    world.move("running", learner)
    del learner
    learner = settle(world.learner())
    assert arms(learner)["a"][0] == 3
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_an_ended_experiment_learns_no_more(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    world.move("ended", learner)
    rewarded(world, "a", 1.0)
    settle(learner)
    assert arms(learner)["a"][0] == 1
    assert learner.caught_up(world.log.head())
    assert world.snapshots.get(TENANT, "greeting") is None


def test_new_arms_join_and_a_disabled_arm_stops_serving_at_once(world):
    learner = world.learner()
    rewarded(world, "a", 1.0)
    settle(learner)
    grown = msgspec.structs.replace(
        world.catalog[TENANT, "greeting"],
        arms=(Arm(id="a", state="disabled"), Arm(id="b"), Arm(id="c"), Arm(id="d")),
    )
    world.change(grown, learner)
    law = world.snapshots.get(TENANT, "greeting").served.law(None)
    assert law[0] == 0
    assert law[3] > 0
    rewarded(world, "d", 1.0)
    settle(learner)
    assert arms(learner)["d"][0] == arms(learner)["a"][0] == 1
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_the_thread_learns_ticks_and_stops():
    world = World(experiment(window_s=0.05, default=0.0))
    learner = world.learner()
    learner.start()
    world.writer.submit([Decided(world.decision("a"))], [None], lambda outcome: None)
    assert world.writer.flush()
    assert learner.wait_until(2, 10)
    world.clock.advance(seconds=1)
    # The clock has passed the window and nothing else comes: the learner writes the tick itself.
    assert learner.wait_until(3, 10)
    learner.stop()
    assert arms(learner)["a"] == (1, 0.0)
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


def test_a_learner_that_cannot_read_the_log_says_so():
    world = World(experiment())
    world.put(Decided(world.decision("a")))
    settle(world.learner()).stop()
    world.log = MemoryEventLog()  # the log of another day beside the checkpoint of today
    world.reader = Reader(world.log)
    learner = world.learner()
    learner.start()
    with pytest.raises(Broken, match="the learner has stopped: the log ends at offset 0"):
        learner.wait_until(3, 10)
    assert learner.failure is not None
    learner.stop()
    world.close()


def test_a_draft_is_no_business_of_the_learner(world):
    learner = world.learner()
    world.change(experiment("new", state="draft"), learner)
    assert world.snapshots.get(TENANT, "new") is None
    assert learner.published == 1
