from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.events import Changed
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock
from loopwright.trust.clearances import LONGEST_MS, Clearances, Clearing, NewClearance

GREETING = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"),))
NOW = 1_750_000_000_000
RUSH = NewClearance(
    experiment_id="greeting", arm_id="a", from_ms=NOW - 90, to_ms=NOW - 10, note="TV"
)


class Desk:
    """Clearances over one database, with an audit trail."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = ManualClock(NOW)
        self.clearances = Clearances(database)
        self.heard: list[Changed] = []
        self.clearing = Clearing(
            self.clearances,
            clock=self.clock,
            ids=Ids(self.clock, random.Random(3)),
            find=lambda tenant, id: GREETING if (tenant, id) == ("acme", "greeting") else None,
            audit=self.heard.append,
        )

    def in_force(self, from_ms: int, to_ms: int) -> list[str]:
        found = self.clearances.in_force("acme", from_ms=from_ms, to_ms=to_ms)
        return [clearance.note for clearance in found]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(SqliteDatabase(":memory:")) as database:
        yield Desk(database)


def test_a_clearance_says_what_who_when_and_why(desk: Desk) -> None:
    made = desk.clearing.clear("acme", RUSH, actor="key-1")
    assert (made.experiment_id, made.arm_id, made.from_ms, made.to_ms, made.note) == (
        "greeting", "a", NOW - 90, NOW - 10, "TV",
    )  # fmt: skip
    assert (made.released_by, made.released_at_ms, made.withdrawn_by) == ("key-1", NOW, None)
    assert list(desk.clearances.in_force("acme", from_ms=0, to_ms=NOW)) == [made]
    assert desk.clearances.list("acme", limit=9).items == [made]


def test_the_audit_trail_hears_of_a_clearance_and_of_its_end(desk: Desk) -> None:
    made = desk.clearing.clear("acme", RUSH, actor="key-1")
    desk.clock.advance(seconds=1)
    desk.clearing.withdraw("acme", made.id, actor="key-2")
    assert desk.heard == [
        Changed(NOW, "acme", "key-1", f"release/{made.id}", "release", msgspec.to_builtins(RUSH)),
        Changed(NOW + 1000, "acme", "key-2", f"release/{made.id}", "withdraw"),
    ]


def test_what_is_taken_back_holds_no_longer_and_is_remembered(desk: Desk) -> None:
    made = desk.clearing.clear("acme", RUSH, actor="key-1")
    desk.clock.advance(seconds=1)
    gone = desk.clearing.withdraw("acme", made.id, actor="key-2")
    assert gone == msgspec.structs.replace(made, withdrawn_by="key-2", withdrawn_at_ms=NOW + 1000)
    assert desk.in_force(0, NOW) == []
    assert desk.clearances.list("acme", limit=9).items == [gone]
    with pytest.raises(NotFound, match="taken back already"):
        desk.clearing.withdraw("acme", made.id, actor="key-3")
    desk.clearing.clear("acme", RUSH, actor="key-3")
    assert desk.in_force(0, NOW) == ["TV"]


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "holds"),
    [
        (NOW - 100, NOW - 90, False),
        (NOW - 100, NOW - 89, True),
        (NOW - 10, NOW, True),
        (NOW - 9, NOW, False),
    ],
)
def test_a_clearance_holds_for_periods_that_meet_it_both_its_ends_included(
    desk: Desk, from_ms: int, to_ms: int, *, holds: bool
) -> None:
    desk.clearing.clear("acme", RUSH, actor="key-1")
    assert desk.in_force(from_ms, to_ms) == (["TV"] if holds else [])


def test_the_very_same_is_cleared_once(desk: Desk) -> None:
    made = desk.clearing.clear("acme", RUSH, actor="key-1")
    with pytest.raises(Conflict, match="released already, by key-1") as found:
        desk.clearing.clear("acme", RUSH, actor="key-2")
    assert found.value.detail == {"release_id": made.id}
    desk.clearing.clear("acme", msgspec.structs.replace(RUSH, arm_id=None), actor="key-2")
    assert len(desk.heard) == 2


def test_another_tenants_clearances_are_neither_seen_nor_taken_back(desk: Desk) -> None:
    made = desk.clearing.clear("acme", RUSH, actor="key-1")
    with pytest.raises(NotFound):
        desk.clearing.withdraw("rival", made.id, actor="key-9")
    assert desk.clearances.list("rival", limit=9).items == []
    assert not desk.clearances.in_force("rival", from_ms=0, to_ms=NOW)
    with pytest.raises(NotFound, match="no experiment 'greeting'"):
        desk.clearing.clear("rival", RUSH, actor="key-9")
    assert desk.in_force(0, NOW) == ["TV"]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"from_ms": NOW}, Invalid, "before from_ms"),
        ({"from_ms": NOW - LONGEST_MS - 11}, Invalid, "at most 7 days"),
        ({"to_ms": NOW + 1}, Invalid, "cannot have been looked at"),
        ({"experiment_id": None}, Invalid, "give experiment_id too"),
        ({"experiment_id": "other"}, NotFound, "no experiment 'other'"),
        ({"arm_id": "b"}, NotFound, "no arm 'b'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_kept(
    desk: Desk, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        desk.clearing.clear("acme", msgspec.structs.replace(RUSH, **changes), actor="key-1")
    assert desk.clearances.list("acme", limit=9).items == []
    assert desk.heard == []


def test_the_newest_are_listed_first_and_they_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(SqliteDatabase(path)) as database:
        desk = Desk(database)
        for note in ("first", "second", "third"):
            asked = msgspec.structs.replace(RUSH, note=note, to_ms=desk.clock.now_ms())
            desk.clearing.clear("acme", asked, actor="key-1")
            desk.clock.advance(seconds=1)
    with closing(SqliteDatabase(path)) as database:
        found = Clearances(database).list("acme", limit=2).items
        assert [clearance.note for clearance in found] == ["third", "second"]


def test_of_many_who_clear_the_same_at_once_exactly_one_does(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    together = threading.Barrier(4)
    done: list[str] = []
    refused: list[str] = []

    def clear(actor: str) -> None:
        with closing(
            SqliteDatabase(path)
        ) as database:  # a connection of its own, as in a process of its own
            desk = Desk(database)
            together.wait()
            try:
                done.append(desk.clearing.clear("acme", RUSH, actor=actor).released_by)
            except Conflict as error:
                refused.append(error.message)

    with closing(SqliteDatabase(path)) as database:
        Desk(database)
    threads = [threading.Thread(target=clear, args=(f"key-{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(SqliteDatabase(path)) as database:
        kept = Clearances(database).list("acme", limit=9).items
    assert [one.released_by for one in kept] == done
    assert refused == [f"this is released already, by {done[0]}"] * 3
