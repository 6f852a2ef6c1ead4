from __future__ import annotations

import logging
from contextlib import closing

import pytest

from loopwright.backends.memory import MemorySnapshotStore
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ports import Versioned
from loopwright.policies import Problem, Snapshots, handover, policy_of
from loopwright.serving import Follower

KEY = ("acme", "greeting")


def experiment(id: str = "greeting", *, revision: int = 1) -> Experiment:
    arms = (Arm(id="a"), Arm(id="b"))
    return Experiment(id=id, tenant_id="acme", state="running", arms=arms, revision=revision)


def snapshot(made: Experiment, *, version: int) -> Versioned:
    policy = policy_of(made)
    value = handover.dump(made, policy, policy.empty(Problem.of(made)))
    return Versioned(made.revision, version, value)


def version_of(snapshots: Snapshots) -> int | None:
    published = snapshots.get(*KEY)
    return None if published is None else published.offset


def test_a_door_serves_what_is_stored_before_any_learner_runs() -> None:
    store, snapshots = MemorySnapshotStore(), Snapshots()
    store.put(KEY, snapshot(experiment(), version=7))
    store.put(("acme", "other"), snapshot(experiment("other"), version=2))
    Follower(store, snapshots)
    assert {(p.experiment.id, p.offset) for p in snapshots.all()} == {("greeting", 7), ("other", 2)}


def test_a_turn_publishes_what_was_put_since_the_last() -> None:
    store, snapshots = MemorySnapshotStore(), Snapshots()
    follower = Follower(store, snapshots)
    assert follower.turn(0) == 0
    store.put(KEY, snapshot(experiment(), version=1))
    store.put(KEY, snapshot(experiment(), version=4))
    assert follower.turn() == 1
    assert version_of(snapshots) == 4
    served = snapshots.get(*KEY)
    assert follower.turn(0) == 0
    assert snapshots.get(*KEY) is served, "what did not change is not prepared again"


def test_a_door_never_goes_back_to_what_a_restarted_learner_puts() -> None:
    store, snapshots = MemorySnapshotStore(), Snapshots()
    follower = Follower(store, snapshots)
    store.put(KEY, snapshot(experiment(revision=2), version=9))
    follower.turn(0)
    for older in (
        snapshot(experiment(revision=2), version=5),
        snapshot(experiment(revision=1), version=9),
    ):
        assert not store.put(KEY, older)
        follower.turn(0)
        assert version_of(snapshots) == 9


def test_a_withdrawn_experiment_stops_serving_and_a_later_one_serves_again() -> None:
    store, snapshots = MemorySnapshotStore(), Snapshots()
    store.put(KEY, snapshot(experiment(), version=3))
    follower = Follower(store, snapshots)
    store.put(KEY, Versioned(2, 3, handover.withdrawal(experiment(revision=2))))
    follower.turn(0)
    assert version_of(snapshots) is None
    store.put(KEY, snapshot(experiment(revision=3), version=3))
    follower.turn(0)
    assert version_of(snapshots) == 3


def test_a_snapshot_that_cannot_serve_stops_no_other_and_the_last_good_one_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, snapshots = MemorySnapshotStore(), Snapshots()
    store.put(KEY, snapshot(experiment(), version=3))
    follower = Follower(store, snapshots)
    store.put(KEY, Versioned(1, 4, b"damaged"))
    store.put(("acme", "other"), snapshot(experiment("other"), version=2))
    with caplog.at_level(logging.ERROR):
        assert follower.turn(0) == 2
    assert "a published snapshot cannot serve" in caplog.text
    assert version_of(snapshots) == 3
    assert snapshots.get("acme", "other") is not None
    assert follower.refused[KEY].startswith("the snapshot of offset 4 cannot serve: ")
    store.put(KEY, snapshot(experiment(), version=5))
    follower.turn(0)
    assert (version_of(snapshots), follower.refused) == (5, {})


def test_a_closed_store_ends_a_turn() -> None:
    with closing(MemorySnapshotStore()) as store:
        follower = Follower(store, Snapshots())
    assert follower.turn() == 0
