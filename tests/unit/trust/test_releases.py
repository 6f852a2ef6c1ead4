from __future__ import annotations

import random
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
from loopwright.trust.releases import LONGEST_MS, NewRelease, Releases, Releasing

GREETING = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"),))
NOW = 1_750_000_000_000
RUSH = NewRelease(experiment_id="greeting", arm_id="a", from_ms=NOW - 90, to_ms=NOW - 10, note="TV")


class Desk:
    """Releases over one database, and what the audit trail heard."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = ManualClock(NOW)
        self.releases = Releases(database)
        self.heard: list[Changed] = []
        self.releasing = Releasing(
            self.releases,
            clock=self.clock,
            ids=Ids(self.clock, random.Random(3)),
            find=lambda tenant, id: GREETING if (tenant, id) == ("acme", "greeting") else None,
            audit=self.heard.append,
        )

    def in_force(self, from_ms: int, to_ms: int) -> list[str]:
        found = self.releases.in_force("acme", from_ms=from_ms, to_ms=to_ms)
        return [release.note for release in found]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(SqliteDatabase(":memory:")) as database:
        yield Desk(database)


def test_a_release_says_what_who_when_and_why(desk: Desk) -> None:
    made = desk.releasing.release("acme", RUSH, actor="key-1")
    assert (made.experiment_id, made.arm_id, made.from_ms, made.to_ms, made.note) == (
        "greeting", "a", NOW - 90, NOW - 10, "TV",
    )  # fmt: skip
    assert (made.released_by, made.released_at_ms, made.withdrawn_by) == ("key-1", NOW, None)
    assert list(desk.releases.in_force("acme", from_ms=0, to_ms=NOW)) == [made]
    assert desk.releases.list("acme", limit=9).items == [made]


def test_the_audit_trail_hears_of_a_release_and_of_its_end(desk: Desk) -> None:
    made = desk.releasing.release("acme", RUSH, actor="key-1")
    desk.clock.advance(seconds=1)
    desk.releasing.withdraw("acme", made.id, actor="key-2")
    assert desk.heard == [
        Changed(NOW, "acme", "key-1", f"release/{made.id}", "release", msgspec.to_builtins(RUSH)),
        Changed(NOW + 1000, "acme", "key-2", f"release/{made.id}", "withdraw"),
    ]


def test_what_is_taken_back_holds_no_longer_and_is_remembered(desk: Desk) -> None:
    made = desk.releasing.release("acme", RUSH, actor="key-1")
    desk.clock.advance(seconds=1)
    gone = desk.releasing.withdraw("acme", made.id, actor="key-2")
    assert gone == msgspec.structs.replace(made, withdrawn_by="key-2", withdrawn_at_ms=NOW + 1000)
    assert desk.in_force(0, NOW) == []
    assert desk.releases.list("acme", limit=9).items == [gone]
    with pytest.raises(NotFound, match="taken back already"):
        desk.releasing.withdraw("acme", made.id, actor="key-3")
    desk.releasing.release("acme", RUSH, actor="key-3")
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
def test_a_release_holds_for_periods_that_meet_it_both_its_ends_included(
    desk: Desk, from_ms: int, to_ms: int, *, holds: bool
) -> None:
    desk.releasing.release("acme", RUSH, actor="key-1")
    assert desk.in_force(from_ms, to_ms) == (["TV"] if holds else [])


def test_the_very_same_is_released_once(desk: Desk) -> None:
    made = desk.releasing.release("acme", RUSH, actor="key-1")
    with pytest.raises(Conflict, match="released already, by key-1") as found:
        desk.releasing.release("acme", RUSH, actor="key-2")
    assert found.value.detail == {"release_id": made.id}
    desk.releasing.release("acme", msgspec.structs.replace(RUSH, arm_id=None), actor="key-2")
    assert len(desk.heard) == 2


def test_another_tenants_releases_are_neither_seen_nor_taken_back(desk: Desk) -> None:
    made = desk.releasing.release("acme", RUSH, actor="key-1")
    with pytest.raises(NotFound):
        desk.releasing.withdraw("rival", made.id, actor="key-9")
    assert desk.releases.list("rival", limit=9).items == []
    assert not desk.releases.in_force("rival", from_ms=0, to_ms=NOW)
    with pytest.raises(NotFound, match="no experiment 'greeting'"):
        desk.releasing.release("rival", RUSH, actor="key-9")
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
        desk.releasing.release("acme", msgspec.structs.replace(RUSH, **changes), actor="key-1")
    assert desk.releases.list("acme", limit=9).items == []
    assert desk.heard == []


def test_the_newest_are_listed_first_and_they_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(SqliteDatabase(path)) as database:
        desk = Desk(database)
        for note in ("first", "second", "third"):
            asked = msgspec.structs.replace(RUSH, note=note, to_ms=desk.clock.now_ms())
            desk.releasing.release("acme", asked, actor="key-1")
            desk.clock.advance(seconds=1)
    with closing(SqliteDatabase(path)) as database:
        found = Releases(database).list("acme", limit=2).items
        assert [release.note for release in found] == ["third", "second"]
