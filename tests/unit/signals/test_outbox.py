from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.events import Reported
from loopwright.core.feedback import Note, Signal, Target
from loopwright.core.schema import apply_schema
from loopwright.eventlog import Reader, Writer
from loopwright.signals.derived import Keyed
from loopwright.signals.outbox import Outbox
from loopwright.signals.store import SCHEMA
from loopwright.testing import ManualClock

START = 1_750_000_000_000


class World:
    """A log and a database on one disk."""

    def __init__(self, folder: Path) -> None:
        self.log = SqliteEventLog(folder / "log.db")
        self.writer = Writer(self.log, ManualClock(START))
        self.reader = Reader(self.log)
        self.database = SqliteDatabase(folder / "state.db")
        apply_schema(self.database, "sessions", SCHEMA)
        self.outbox = Outbox(self.database, self.writer)

    def put(self, *facts: Keyed) -> None:
        with self.database.transaction() as transaction:
            self.outbox.put(transaction, facts)

    def logged(self) -> list[str]:
        return [f.event_id for _, f in self.reader.facts(0, limit=100) if isinstance(f, Reported)]

    def waiting(self) -> int:
        return len(self.database.query("SELECT * FROM session_facts"))

    def close(self) -> None:
        self.writer.close()
        self.database.close()
        self.log.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def keyed(id: str) -> Keyed:
    target = Target(output_id=id)
    return id.encode(), Reported(
        id, START, "acme", target, Signal("retry"), Note(occurred_at_ms=START)
    )


def test_what_waits_is_appended_once_and_removed(world: World) -> None:
    world.put(keyed("a"), keyed("b"))
    world.put(keyed("a"))
    assert world.outbox.send()
    assert (world.logged(), world.waiting(), world.outbox.appended) == (["a", "b"], 0, 2)
    assert world.outbox.send()
    assert world.logged() == ["a", "b"]


def test_a_fact_that_the_log_has_already_is_removed_and_not_counted(world: World) -> None:
    world.put(keyed("a"))
    world.outbox.send()
    world.put(keyed("a"), keyed("b"))  # as after a crash between the append and the removal
    assert world.outbox.send()
    assert (world.logged(), world.waiting(), world.outbox.appended) == (["a", "b"], 0, 2)


def test_facts_stay_while_the_log_takes_none(world: World) -> None:
    world.put(keyed("a"), keyed("b"))
    world.writer.close()
    assert not world.outbox.send()
    assert (world.waiting(), world.outbox.appended) == (2, 0)
