from __future__ import annotations

import pytest
from tests.unit.warehouse.test_loader import EVERYTHING, events, some_days
from tests.unit.warehouse.world import DAY, NOW, World, consented, decision, erased, feedback

from loopwright.core.events import Decided, Received
from loopwright.core.feedback import Outcome
from loopwright.warehouse import manifest as manifests
from loopwright.warehouse.upkeep import day_of


def test_a_days_small_files_are_merged_once_it_is_over(world: World) -> None:
    for k in range(5):
        world.say(feedback(f"f{k}"))
        world.loader().run()
    assert len(manifests.read(world.blobs).parts) == 5
    world.clock.advance(seconds=86_400)
    done = world.loader(grace_ms=0).run()
    assert done.compacted == 5
    (file,) = manifests.read(world.blobs).parts
    assert (file.rows, file.first, file.last) == (5, 1, 5)
    assert events(world.warehouse()) == [f"f{k}" for k in range(5)]


def test_a_weeks_days_are_merged_once_it_is_over_unless_they_are_large(world: World) -> None:
    some_days(world)
    world.loader(most_rows=3).run()
    assert len({file.day for file in manifests.read(world.blobs).parts}) == 4
    world.clock.advance(seconds=7 * 86_400)
    assert world.loader(most_rows=6).run().compacted == 6
    found = {(f.table, f.day, f.until, f.rows) for f in manifests.read(world.blobs).parts}
    assert found == {
        ("feedback", "2024-10-01", "2024-10-02", 6),
        ("feedback", "2024-10-03", "2024-10-04", 6),
        ("interactions", "2024-10-01", "2024-10-02", 2),
        ("interactions", "2024-10-03", "2024-10-04", 2),
    }
    assert sorted(events(world.warehouse())) == EVERYTHING


def test_an_erased_persons_rows_leave_the_files_at_the_next_compaction(world: World) -> None:
    some_days(world)
    loader = world.loader(grace_ms=0)
    loader.run()
    world.say(erased("p1"))
    assert loader.run().compacted == 3
    rows = sum(f.rows for f in manifests.read(world.blobs).parts if f.table == "feedback")
    assert rows == 8
    for path in world.folder.rglob("*.parquet"):
        assert b"p1" not in path.read_bytes() or "feedback" not in path.parts
    assert loader.run().compacted == 0


def test_a_withdrawn_consent_rewrites_no_file(world: World) -> None:
    some_days(world)
    loader = world.loader()
    loader.run()
    world.say(consented("p1", "store"))
    assert loader.run().compacted == 0


def test_retention_drops_old_days_but_not_what_is_known_of_people(world: World) -> None:
    some_days(world)
    world.say(consented("p1", "store"))
    world.clock.advance(seconds=86_400)
    done = world.loader(retain_days=2).run()
    assert done.expired > 0
    files = manifests.read(world.blobs).parts
    assert {file.day for file in files if file.table == "feedback"} == {"2024-10-03", "2024-10-04"}
    world.clock.advance(seconds=40 * 86_400)
    world.loader(retain_days=2).run()
    assert {file.table for file in manifests.read(world.blobs).parts} == {"consents"}


def test_retention_takes_single_days_out_of_a_week(world: World) -> None:
    some_days(world)
    world.loader().run()
    world.clock.advance(seconds=86_400)
    done = world.loader(retain_days=3, grace_ms=0).run()
    files = [f for f in manifests.read(world.blobs).parts if f.table == "feedback"]
    assert {(f.day, f.until) for f in files} == {
        ("2024-10-02", ""),
        ("2024-10-03", ""),
        ("2024-10-04", ""),
    }
    assert (done.expired, sum(file.rows for file in files)) == (0, 9)
    assert "a3" not in events(world.warehouse())
    assert world.loader(retain_days=3).run().expired == 0


@pytest.mark.parametrize(
    ("at_ms", "day"),
    [(0, "1970-01-01"), (DAY - 1, "1970-01-01"), (DAY, "1970-01-02"), (NOW, "2024-10-04")],
)
def test_a_day_ends_at_midnight_utc(at_ms: int, day: str) -> None:
    assert day_of(at_ms) == day


def test_a_person_is_taken_out_as_a_speaker_and_as_the_unit_of_decisions(world: World) -> None:
    world.say(
        Decided(decision("d1")),
        Received("r1", NOW, decision("d1"), Outcome("reward", 1.0)),
        feedback("f1", person="p1"),
        feedback("f2", person="p2"),
        feedback("f3", person="p1", tenant_id="other"),
        consented("p1", "store"),
    )
    loader = world.loader(grace_ms=0)
    loader.run()
    loader.purge("acme", person="p1", units=["u1"])
    files = manifests.read(world.blobs).parts
    # Of the other tenant's person of that pseudonym nothing goes, nor what is known of consent.
    assert {file.table: file.rows for file in files} == {"feedback": 2, "consents": 1}
    found = world.warehouse().query("export_rows", tenant_id=None).rows
    assert [row[4] for row in found] == ["f2", "f3"]


def test_todays_files_are_left_alone_until_there_are_too_many(world: World) -> None:
    for k in range(3):
        world.say(feedback(f"f{k}"))
        assert world.loader(most_files=3).run().compacted == 0
    world.say(feedback("f3"))
    assert world.loader(most_files=3).run().compacted == 4
    assert events(world.warehouse()) == [f"f{k}" for k in range(4)]


def test_a_person_erased_once_is_searched_for_once(world: World) -> None:
    some_days(world)
    loader = world.loader()
    loader.run()
    offset = world.say(erased("nobody"))
    assert loader.run().compacted == 0
    # Nobody of that name was found; the files say that they were searched through this offset.
    assert {file.settled for file in manifests.read(world.blobs).parts} == {offset}
