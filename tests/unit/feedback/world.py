"""A typed intake over real tables in memory."""

from __future__ import annotations

import random
from typing import Any

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.decision import Decision
from loopwright.core.events import Reported
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.core.reward import RewardSpec
from loopwright.core.token import Signer
from loopwright.feedback import Pipeline, Prepared, Quarantine, Results, TypedIntake
from loopwright.people import People
from loopwright.testing import ManualClock

SIGNER = Signer({1: bytes(range(32))}, active=1)
THUMB = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}
STARS = {"kind": "rating", "scale": "stars", "value": 4}


class World:
    """One tenant's intake, with a clock moved by hand."""

    def __init__(self, *, capacity: int = 100, **reward: Any) -> None:
        self.clock = ManualClock()
        self.ids = Ids(self.clock, random.Random(5))
        self.people_database = SqliteDatabase(":memory:")
        self.quarantine_database = SqliteDatabase(":memory:")
        self.people = People(
            self.people_database, clock=self.clock, random_bytes=random.Random(9).randbytes
        )
        self.quarantine = Quarantine(self.quarantine_database, capacity=capacity)
        experiment = Experiment(
            id="greeting", tenant_id="acme", arms=(Arm(id="a"),), reward=RewardSpec(**reward)
        )
        self.experiment = experiment
        self.pipeline = Pipeline(
            SIGNER,
            find=lambda tenant, id: experiment if (tenant, id) == ("acme", "greeting") else None,
            ids=self.ids,
        )
        self.intake = TypedIntake(
            self.pipeline,
            people=self.people,
            quarantine=self.quarantine,
            clock=self.clock,
            ids=self.ids,
        )

    def close(self) -> None:
        self.people_database.close()
        self.quarantine_database.close()

    def decision(self, **changes: Any) -> Decision:
        made = {
            "id": self.ids(),
            "tenant_id": "acme",
            "experiment_id": "greeting",
            "arm_id": "a",
            "propensity": 0.5,
            "snapshot": 1,
            "decided_at_ms": self.clock.now_ms(),
        }
        return Decision(**{**made, **changes})

    def take(self, *items: Any, path: str = "feedback") -> Prepared:
        return self.intake.prepare("acme", path, items)

    def fact(self, item: Any, path: str = "feedback") -> Reported:
        prepared = self.take(item, path=path)
        assert not prepared.refusals, prepared.refusals
        fact = prepared.facts[0]
        assert isinstance(fact, Reported)
        return fact

    def refused(self, item: Any, path: str = "feedback") -> str:
        prepared = self.take(item, path=path)
        assert not prepared.facts
        return prepared.refusals[0].error.message

    def settle(self, prepared: Prepared, *duplicates: bool, first: int = 1) -> Results:
        """Settle as if the log had stored all facts but the `duplicates`."""
        flags = list(duplicates) or [False] * len(prepared.facts)
        return self.intake.settle(prepared, Committed(first if False in flags else None, flags))
