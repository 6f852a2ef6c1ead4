from __future__ import annotations

import pytest
from tests.unit.learning.world import TENANT, World, arms, experiment, pack, settle

from loopwright.core.experiment import ExperimentState
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.report import drafted, info_of, inspected, reported
from loopwright.learning.store import Snapshot
from loopwright.learning.trainer import Trainer
from loopwright.policies import ArmSummary


def rewarded(world: World, arm: str, value: float, **fields: object) -> None:
    world.reward(world.decide(arm, **fields), value)


def test_facts_that_cannot_be_learned_are_counted_and_named():
    world = World(experiment(policy="LinUCB", context=2, type="bounded"))
    learner = world.learner()
    rewarded(world, "a", 1.0, vector=pack(1, 2))
    rewarded(world, "a", 1.0, vector=pack(1, 2, 3))
    rewarded(world, "a", 1.0)
    rewarded(world, "gone", 1.0, vector=pack(1, 2))
    rewarded(world, "a", 1.0, vector=pack(1, 2), mode="holdout")
    world.put(world.feedback(world.decision("a", vector=pack(1, 2)), 1.0, metric="clicks"))
    settle(learner)
    status = learner.status(TENANT, "greeting")
    assert arms(learner)["a"][0] == 1
    assert "2 facts were not learned from: their context vector" in status.reason
    assert "1 fact was not learned from: their arm" in status.reason
    assert status.learner == "learning"
    assert (status.feedback, status.decisions) == (1, 4)
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


def test_clipped_rewards_are_counted_and_learned_at_the_bound():
    world = World(experiment(type="bounded", low=0.0, high=10.0, out_of_range="clip"))
    learner = world.learner()
    for value in (-3.0, 5.0, 1e9):
        rewarded(world, "a", value)
    settle(learner)
    assert learner.status(TENANT, "greeting").clipped == 2
    assert arms(learner)["a"] == (3, 5.0)
    world.close()


def test_a_policy_that_cannot_sum_up_still_has_its_counts_reported() -> None:
    world = World(experiment(policy="LinUCB", context=2, type="bounded"))
    learner = world.learner()
    rewarded(world, "a", 1.0, vector=pack(1, 2))
    settle(learner)
    trainer = Trainer(experiment(policy="LinUCB", context=2, type="bounded"), EmptyShelf())

    class Clueless(Trainer):
        def summaries(self) -> list[ArmSummary]:
            raise ZeroDivisionError("no figures")

    broken = Clueless(trainer.experiment, EmptyShelf())
    broken.tally.decisions["a"] = 4
    found = reported(broken, head=9, shed=0, serving=None, is_apart=False, degraded="")
    assert found.learner == "degraded"
    assert found.reason == "the policy cannot sum up its state: ZeroDivisionError: no figures"
    assert [(arm.n, arm.decisions, arm.mean) for arm in found.arms] == [
        (0, 4, None),
        (0, 0, None),
        (0, 0, None),
    ]
    world.close()


@pytest.mark.parametrize(
    ("state", "is_apart", "degraded", "learner"),
    [
        ("running", False, "", "learning"),
        ("running", True, "", "learning"),
        ("paused", True, "", "paused"),
        ("ended", True, "", "paused"),
        ("paused", False, "", "learning"),
        ("paused", True, "it was refused", "degraded"),
    ],
)
def test_one_that_catches_up_learns_and_a_refusal_outranks_a_pause(
    state: ExperimentState, is_apart: bool, degraded: str, learner: str
) -> None:
    trainer = Trainer(experiment(state=state), EmptyShelf())
    found = reported(trainer, head=9, shed=2, serving=7, is_apart=is_apart, degraded=degraded)
    assert (found.learner, found.reason, found.snapshot, found.shed) == (learner, degraded, 7, 2)


def test_a_snapshot_is_shown_with_the_arms_as_they_are_named_now() -> None:
    trainer = Trainer(experiment(arms=("a", "b")), EmptyShelf())
    kept = Snapshot.of(trainer.snapshot(0).state, version=3, taken_at_ms=5, n=0, policy="p")
    assert (info_of(kept, 3).serving, info_of(kept, 4).serving, info_of(kept, None).serving) == (
        True,
        False,
        False,
    )
    grown = Trainer(experiment(arms=("a", "b", "c")), EmptyShelf())
    shown = inspected(kept, grown, serving=3)
    assert [(arm.arm_id, arm.n) for arm in shown.arms] == [("a", 0), ("b", 0), ("c", 0)]


def test_a_draft_names_the_policy_that_auto_will_be() -> None:
    found = drafted(experiment(type="continuous", state="draft"), head=4)
    assert (found.policy, found.learner, found.head) == ("GaussianThompson", "paused", 4)
