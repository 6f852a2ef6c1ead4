from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.signals.world import START, fitted

from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.decision import Decision
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.reward import RewardSpec
from loopwright.people.people import People
from loopwright.signals.expectations import Expectations
from loopwright.signals.registry import Surrogates
from loopwright.testing import ManualClock

SHAPED = {"type": "bounded", "metric": "resolved", "duplicates": "latest", "shaping": "support"}
COPIED = {"copy": 1.0}


class World:
    """Experiments, people and surrogates on one disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "surrogates"
        self.database = SqliteDatabase(folder / "people.db", is_private=True)
        self.people = People(self.database, clock=ManualClock(START))
        self.surrogates = Surrogates(FolderBlobStore(self.folder))
        self.experiments: dict[str, Experiment] = {}
        self.expectations = Expectations(
            self.surrogates, find=lambda _, id: self.experiments.get(id), people=self.people
        )

    def decide(self, id: str = "greeting", state: Any = "running", **reward: Any) -> Decision:
        """Return a decision of a new experiment."""
        self.experiments[id] = Experiment(
            id=id,
            tenant_id="default",
            arms=(Arm(id="a"),),
            reward=RewardSpec(**{**SHAPED, **reward}),
            state=state,
        )
        return Decision("d" * 32, "default", id, "a", 1.0, 0, START)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()


def test_the_current_surrogate_says_what_to_expect(world: World) -> None:
    decision = world.decide()
    expect = world.expectations.expect
    assert world.expectations.metric(decision) == "resolved"
    assert expect(decision, {}, person=None) is None  # no surrogate was made yet
    first, second = fitted(), fitted(now_ms=START + 1)
    world.surrogates.store("default", first)
    assert expect(decision, COPIED, person=None) == (first.predict(COPIED), first.version)
    world.surrogates.store("default", second)
    assert expect(decision, COPIED, person=None) == (second.predict(COPIED), second.version)


def test_a_surrogate_that_cannot_be_used_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    decision = world.decide()
    world.surrogates.store("default", fitted(metric="other"))
    for _ in range(2):
        assert world.expectations.expect(decision, COPIED, person=None) is None
    path = world.folder / world.surrogates.store("default", fitted())
    path.write_bytes(b"{}")
    for _ in range(2):
        assert world.expectations.expect(decision, COPIED, person=None) is None
    assert [vars(record)["reason"].split(";")[0] for record in caplog.records] == [
        "the surrogate is of 'other', the reward of 'resolved'",
        "the surrogate of task 'support' cannot be read: Object missing required field `task`",
    ]


def test_nothing_is_expected_of_decisions_that_teach_nothing(world: World) -> None:
    world.surrogates.store("default", fitted())
    decision = world.decide()
    holdout = msgspec.structs.replace(decision, mode="holdout")
    unshaped = world.decide("plain", shaping=None)
    ended = world.decide("ended", state="ended")
    unknown = msgspec.structs.replace(decision, experiment_id="none")
    for one in (holdout, unshaped, ended, unknown):
        assert world.expectations.metric(one) is None
        assert world.expectations.expect(one, COPIED, person=None) is None


def test_a_task_whose_name_is_too_long_for_a_folder_expects_nothing(world: World) -> None:
    odd = world.decide("odd", shaping="ж" * 100)
    assert world.expectations.expect(odd, COPIED, person=None) is None


def test_a_persons_consent_decides_whether_their_signals_train(world: World) -> None:
    world.surrogates.store("default", fitted())
    decision = world.decide()
    person = world.people.resolve("default", ["ann"])["ann"].id

    def is_expected() -> bool:
        return world.expectations.expect(decision, COPIED, person=person) is not None

    assert is_expected()
    world.people.consent("default", person, ("store", "analyze"))
    assert not is_expected()
    world.people.consent("default", person, ("store", "train"))
    assert is_expected()
    world.people.erase("default", person)
    assert not is_expected()
