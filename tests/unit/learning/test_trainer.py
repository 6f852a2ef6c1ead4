"""A policy of another package whose state is no sums: the learner hands it on and never looks inside."""

from __future__ import annotations

import sys

import pytest
from tests.unit.learning.world import TENANT, World, arms, experiment, settle

from loopwright.policies import make
from loopwright.testing import check_policy

DISCOUNTED = '''
import json
from typing import ClassVar

from loopwright.policies import ArmSummary, Spec, Uniform
from loopwright.core.errors import Invalid


class Discounted:
    """Keeps a discounted count of each arm in a plain list: no sums, and no going back to the bit."""

    spec: ClassVar = Spec(name="Discounted", law="closed", paper="none")

    def empty(self, problem):
        return [(0, 0.0)] * len(problem.arms)

    def learn(self, problem, state, batch):
        return self._moved(problem, state, batch, 1)

    def unlearn(self, problem, state, batch):
        return self._moved(problem, state, batch, -1)

    def _moved(self, problem, state, batch, sign):
        Uniform().stats(problem, batch)  # refuses what does not fit
        found = list(state)
        for arm, reward in zip(batch.arms.tolist(), batch.rewards.tolist()):
            n, total = found[arm]
            found[arm] = (n + sign, 0.99 * total + sign * reward)
        return found

    def grow(self, problem, state):
        if len(state) > len(problem.arms):
            raise Invalid("arms went missing")
        return [*state, *[(0, 0.0)] * (len(problem.arms) - len(state))]

    def counts(self, state):
        return [n for n, _ in state]

    def dump(self, state):
        return json.dumps(state).encode()

    def load(self, data):
        return [tuple(arm) for arm in json.loads(data)]

    def prepare(self, problem, state, allocation, *, previous=None):
        return Uniform().prepare(problem, Uniform().empty(problem), allocation)

    def summaries(self, problem, state, allocation):
        shares = self.prepare(problem, state, allocation).law(None)
        return [
            ArmSummary(
                arm=arm, n=n, share=share, p_best=1 / len(state),
                mean=total if n else None, low=total if n else None, high=total if n else None,
            )
            for arm, (n, total), share in zip(problem.arms, state, shares)
        ]
'''


@pytest.fixture
def discounted(tmp_path, monkeypatch) -> str:
    """One file and one line in the catalog of entry points, outside the source tree."""
    (tmp_path / "discounted_policy.py").write_text(DISCOUNTED)
    info = tmp_path / "discounted_policy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: discounted-policy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[loopwright.policies]\nDiscounted = discounted_policy:Discounted\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "discounted_policy", raising=False)
    return "Discounted"


def test_a_policy_with_a_state_of_its_own_keeps_the_promises_of_all_policies(discounted):
    check_policy(lambda: make(discounted, {}), learns=False)


def test_a_policy_with_a_state_of_its_own_learns_restarts_rolls_back_and_replays(discounted):
    world = World(experiment(policy=discounted, type="bounded", duplicates="latest"))
    learner = world.learner()
    first = world.decide("a")
    world.reward(first, 1.0)
    world.reward(first, 0.5)
    settle(learner)
    assert arms(learner)["a"][0] == 1
    kept = learner.take_snapshot(TENANT, "greeting")
    world.reward(world.decide("b"), 1.0)
    settle(learner).stop()
    learner = world.learner()
    assert arms(learner)["b"][0] == 1
    learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    settle(learner)
    assert [n for n, _ in arms(learner).values()] == [1, 0, 0]
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()
