from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.events import Changed
from loopwright.core.gate import Gate, Guardrail
from loopwright.core.rollout import Stage
from loopwright.testing import ManualClock

NOW = 1_750_000_000_000

HARMLESS = Gate(primary=None, guardrails=(Guardrail(metric="reward", margin=0.2),), least_units=20)
BETTER = Gate(least_units=20, planned_units=400)
QUICK = (Stage(name="canary", share=0.2, gate=HARMLESS), Stage(name="ab", share=0.5, gate=BETTER))
"""Stages that some hundred units pass."""


class Stand:
    """A loop with a sticky experiment of two arms, and users whose rewards are told by arm; time is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW)
        self.rng = random.Random(5)
        self.users = 0
        self.open()
        self.loop.experiments.create(
            "greeting",
            arms=["old", {"id": "new"}],
            gate={"sticky": True, "default_arm": "old"},
        )

    def open(self) -> None:
        self.services = Services(
            load_settings(data_dir=self.folder), clock=self.clock, rng=random.Random(1)
        )
        self.loop = Loop(self.services, DEFAULT_TENANT)
        self.rollouts = self.services.reports.rollouts

    def begin(self, id: str = "r", **more: object) -> None:
        members = {"experiment_id": "greeting", "champion": "old", "challenger": "new"} | more
        self.loop.rollouts.begin(id, **({"stages": QUICK} | members))  # type: ignore[arg-type]

    def serve(
        self, units: int, rates: Mapping[str, float], *, same: bool = False
    ) -> dict[str, int]:
        """Serve `units` new users, or the first ones again, and send what they earned; return how many got which arm."""
        self.learn()
        got: dict[str, int] = {}
        items = []
        for n in range(units):
            user = n if same else self.users + n
            selected = self.loop.agent.select("greeting", unit_id=f"u{user}")
            arm = selected.arm.id
            got[arm] = got.get(arm, 0) + 1
            reward = float(self.rng.random() < rates[arm])
            items.append({"request_id": selected.request_id, "reward": reward})
        self.users += 0 if same else units
        self.loop.agent.feedback_batch(items)
        self.clock.advance(seconds=60)
        return got

    def learn(self) -> None:
        """Let the learner read everything, and publish."""
        self.services.truth.writer.flush()
        while self.services.learner.step():
            pass

    def look(self) -> str:
        """Let the background work look once; return the state of the newest rollout and its stage."""
        self.clock.advance(seconds=11)
        self.learn()
        self.rollouts.run()
        self.learn()
        rollout = self.loop.rollouts.list().items[0]
        return f"{rollout.state} {rollout.stage}"

    def shares(self) -> dict[str, tuple[str, float, float]]:
        arms = self.loop.experiments.get("greeting").arms
        return {arm.id: (arm.state, arm.min_share, arm.max_share) for arm in arms}

    def audit(self, subject: str) -> list[Changed]:
        self.services.truth.writer.flush()
        facts = [fact for _, fact in self.services.truth.reader.facts(0, limit=100_000)]
        return [f for f in facts if isinstance(f, Changed) and f.subject == subject]

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.close()
