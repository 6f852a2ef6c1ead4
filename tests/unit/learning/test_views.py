from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.learning.world import TENANT, World, experiment, settle

from loopwright.core.errors import Conflict, NotFound


def test_a_draft_has_a_status_but_nothing_learned():
    world = World(experiment(state="draft"))
    learner = world.learner()
    status = learner.status(TENANT, "greeting")
    assert (status.state, status.policy, len(status.arms)) == ("draft", "BetaThompson", 3)
    with pytest.raises(Conflict, match="draft"):
        learner.snapshots(TENANT, "greeting")
    with pytest.raises(NotFound):
        learner.status(TENANT, "nothing")
    world.move("running", learner)
    assert world.snapshots.get(TENANT, "greeting") is not None
    world.close()


def test_what_is_skipped_and_expected_is_told_over_all_experiments() -> None:
    shaped: dict[str, Any] = {"type": "bounded", "duplicates": "latest", "shaping": "support"}
    world = World(experiment(), experiment("other"), experiment("shaped", **shaped))
    learner = world.learner()
    world.reward(world.decision("gone"), 1.0)
    world.reward(world.decision("gone", id="other"), 1.0)
    world.put(world.feedback(world.decision("a"), 1.0, metric="clicks"))
    world.put(world.expected(world.decision("a", id="shaped"), 0.5))
    settle(learner)
    assert learner.views.skipped() == {"arm": 2, "metric": 1}
    assert learner.views.expected() == {(TENANT, "shaped"): 1}
    world.close()


def test_two_tenants_with_one_name_of_an_experiment_see_their_own() -> None:
    world = World(experiment())
    theirs = msgspec.structs.replace(experiment(), tenant_id="other")
    world.change(theirs)
    learner = settle(world.learner())
    world.reward(world.decide("a"), 1.0)
    settle(learner)
    mine = learner.status(TENANT, "greeting")
    assert (mine.feedback, learner.status("other", "greeting").feedback) == (1, 0)
    with pytest.raises(NotFound):
        learner.status("third", "greeting")
    world.close()


def test_a_snapshot_in_service_is_marked_among_the_kept_ones() -> None:
    world = World(experiment())
    learner = world.learner()
    first = learner.take_snapshot(TENANT, "greeting")
    world.reward(world.decide("a"), 1.0)
    settle(learner)
    second = learner.take_snapshot(TENANT, "greeting")
    kept = learner.snapshots(TENANT, "greeting")
    assert [(s.version, s.serving) for s in kept] == [
        (second.version, True),
        (first.version, False),
    ]
    world.close()
