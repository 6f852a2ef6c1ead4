from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from loopwright.app.roles import Truth
from loopwright.app.settings import load_settings
from loopwright.catalog import Counted
from loopwright.core import upcast
from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Fact, Received
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock

DAY_S = 86_400


class Folder:
    """The stores of one directory, opened again as often as asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clock = ManualClock()

    def open(self, opened: ExitStack) -> Truth:
        ids = Ids(self.clock, random.Random(1))
        return Truth(load_settings(data_dir=self._path), opened, clock=self.clock, ids=ids)

    def facts(self, tenant_id: str, n: int) -> list[Fact]:
        """Return decisions, each with a reward."""
        found: list[Fact] = []
        for _ in range(n):
            now_ms = self.clock.now_ms()
            decision = Decision("d", tenant_id, "greeting", "a", 0.5, 0, now_ms)
            found += [Decided(decision), Received("e", now_ms, decision, Outcome("reward", 1.0))]
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def store(truth: Truth, facts: list[Fact]) -> None:
    truth.writer.append(facts, [None] * len(facts), timeout_s=5)


def test_facts_are_counted_by_tenant_and_day_once_however_often_it_runs(folder: Folder) -> None:
    with ExitStack() as opened:
        truth = folder.open(opened)
        store(truth, folder.facts("acme", 2))
        folder.clock.advance(seconds=DAY_S)
        today = folder.facts("acme", 3)
        store(truth, [*today, *folder.facts("globex", 1)])
        size = sum(len(upcast.encode([fact])) for fact in today)
        for _ in range(3):
            found = truth.usage.counted("acme")
            assert found.events_today == 3
            assert found.stored_bytes > size
        assert truth.usage.counted("globex").events_today == 1
        assert truth.usage.counted("nobody") == Counted(0, 0)
        assert truth.usage.run() == 0


def test_the_count_goes_on_after_a_restart(folder: Folder) -> None:
    with ExitStack() as opened:
        truth = folder.open(opened)
        store(truth, folder.facts("acme", 2))
        before = truth.usage.counted("acme")
        store(truth, folder.facts("acme", 1))
    with ExitStack() as opened:
        truth = folder.open(opened)
        found = truth.usage.counted("acme")
        assert found.events_today == before.events_today + 1
        assert found.stored_bytes == truth.usage.stored_bytes("acme") > before.stored_bytes


def test_counting_stops_when_told(folder: Folder) -> None:
    with ExitStack() as opened:
        truth = folder.open(opened)
        truth.usage.run()
        store(truth, folder.facts("acme", 2))
        assert truth.usage.run(stopping=lambda: True) == 0
        assert truth.usage.run() == 4
