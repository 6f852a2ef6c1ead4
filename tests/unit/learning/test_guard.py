from __future__ import annotations

import logging
import sys

import pytest
from tests.unit.learning.world import TENANT, World, arms, experiment, pack, settle

from loopwright.core.errors import NoArms
from loopwright.learning.guard import guarded
from loopwright.policies import Diverged, Draw

POLICY = '''
from typing import ClassVar
import msgspec
from loopwright.policies import BetaThompson

MENDED = []

class Fickle(BetaThompson, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cannot be prepared with 2 or 3 rewards, cannot learn from arm b."""

    spec: ClassVar = msgspec.structs.replace(BetaThompson.spec, name="Fickle", aliases=())

    def prepare(self, problem, sums, allocation, *, previous=None):
        if 2 <= sums.counts.sum() <= 3:
            raise ZeroDivisionError("a bug of the policy")
        return super().prepare(problem, sums, allocation, previous=previous)

    def stats(self, problem, batch):
        if 1 in batch.arms and not MENDED:
            raise ValueError("b is too much")
        return super().stats(problem, batch)
'''


@pytest.fixture
def fickle(tmp_path, monkeypatch):
    """An experiment with a policy of another package, as users install one."""
    (tmp_path / "fickle_policy.py").write_text(POLICY)
    info = tmp_path / "fickle_policy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fickle-policy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[loopwright.policies]\nFickle = fickle_policy:Fickle\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fickle_policy", raising=False)
    world = World(experiment(policy="Fickle"), experiment("other"))
    yield world
    world.close()


def test_a_state_that_cannot_serve_leaves_the_last_good_one_in_service(fickle, caplog):
    learner = fickle.learner()
    for _ in range(3):
        fickle.reward(fickle.decide("a"), 1.0)
        settle(learner)
    status = learner.status(TENANT, "greeting")
    assert fickle.snapshots.get(TENANT, "greeting").offset == status.snapshot == 4
    assert (status.learner, status.arms[0].n) == ("degraded", 3)
    assert "a bug of the policy" in status.reason
    assert status.reason.endswith("version 4 keeps serving")
    assert list(learner.views.degraded()) == [(TENANT, "greeting")]
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
        "a learned state was refused"
    ]
    fickle.reward(fickle.decide("a"), 1.0)
    settle(learner)
    assert fickle.snapshots.get(TENANT, "greeting").offset == 10
    status = learner.status(TENANT, "greeting")
    assert (status.learner, status.reason, learner.views.degraded()) == ("learning", "", {})


def test_an_experiment_that_cannot_learn_waits_while_others_go_on(fickle):
    learner = fickle.learner()
    fickle.reward(fickle.decide("a"), 1.0)
    settle(learner)
    fickle.put(
        *[fickle.feedback(fickle.decision(arm), 1.0) for arm in "ab"],
        fickle.feedback(fickle.decision("a", id="other"), 1.0),
    )
    settle(learner)
    assert arms(learner, "other")["a"][0] == 1
    assert arms(learner)["a"][0] == 1  # all or nothing: the stretch is learned again as a whole
    status = learner.status(TENANT, "greeting")
    assert status.learner == "degraded"
    assert "b is too much" in status.reason
    assert learner.views.positions() == {(TENANT, "greeting"): 4, (TENANT, "other"): 7}
    assert learner.caught_up(7)


def test_an_experiment_that_could_not_learn_tries_again_after_a_restart(fickle):
    learner = fickle.learner()
    fickle.reward(fickle.decide("b"), 1.0)
    settle(learner).stop()
    sys.modules["fickle_policy"].MENDED.append(True)
    again = settle(fickle.learner())
    assert arms(again)["b"][0] == 1
    assert again.views.degraded() == {}
    assert again.dump(TENANT, "greeting") == fickle.replayed()


class Odd:
    """What a broken policy might hand over to serve."""

    arms = ("a", "b")
    enabled = (0, 1)

    def __init__(self, draw=(0, 0.5), law=(0.5, 0.5)) -> None:
        self._draw, self._law = draw, list(law)

    def select(self, vector, u, *, mask=None):
        return Draw(*self._draw)

    def law(self, vector, *, mask=None):
        return self._law


@pytest.mark.parametrize(
    "served",
    [
        Odd(draw=(0, float("nan"))),
        Odd(draw=(0, 0.0)),
        Odd(draw=(0, 1.5)),
        Odd(draw=(2, 0.5)),
        Odd(law=(0.5, 0.6)),
        Odd(law=(1.5, -0.5)),
        Odd(law=(float("nan"), 0.5)),
    ],
)
def test_draws_that_make_no_sense_are_refused(served):
    with pytest.raises(Diverged):
        guarded(experiment(arms=("a", "b")), lambda: served, probe=None)


def test_what_makes_sense_passes_and_a_refusal_keeps_its_words():
    served = Odd()
    assert guarded(experiment(), lambda: served, probe=None) is served
    linear = experiment(policy="LinUCB", type="bounded", context=1)
    assert guarded(linear, lambda: served, probe=pack(1.0)) is served

    def refuse():
        raise NoArms("all arms are disabled")

    with pytest.raises(NoArms, match="all arms are disabled"):
        guarded(experiment(), refuse, probe=None)
