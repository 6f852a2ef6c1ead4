from __future__ import annotations

import pytest
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, erased, feedback

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core import parts
from loopwright.core.errors import Broken
from loopwright.core.feedback import Outcome, Target
from loopwright.eventlog import Consumers
from loopwright.warehouse import CONSUMER, LoaderBusy, Warehouse, WarehouseCorrupt
from loopwright.warehouse import manifest as manifests
from loopwright.warehouse.loader import LEASE
from loopwright.warehouse.tables import TABLES_VERSION


class Stopped(Exception):
    pass


class StopAt:
    """Fails at the n-th step, as a crash would: what was done before it stays."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, step: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped(step)


def events(warehouse: Warehouse, tenant_id: str = "acme") -> list[str]:
    return [row[4] for row in warehouse.query("export_rows", tenant_id=tenant_id).rows]


def some_days(world: World) -> None:
    for day in (3, 2, 1, 0):
        at_ms = NOW - day * DAY
        world.say(
            call(f"i{day}", at_ms=at_ms, prompt_version=f"p{day % 2}"),
            feedback(f"a{day}", UP, at_ms=at_ms, target=Target(output_id=f"i{day}"), person="p1"),
            feedback(f"b{day}", DOWN, at_ms=at_ms, target=Target(output_id=f"i{3 - day}")),
            feedback(f"c{day}", Outcome("resolved", 1.0), at_ms=at_ms, person="p2"),
        )


EVERYTHING = sorted(f"{name}{day}" for name in "abc" for day in range(4))


def test_a_stop_at_any_step_of_loading_and_merging_loses_and_doubles_nothing(world: World) -> None:
    expected, steps = {f"f{k}" for k in range(30)}, 0
    world.say(*(feedback(f"f{k}", at_ms=NOW - k % 2 * DAY, person=f"p{k}") for k in range(30)))
    world.loader(stretch=20).run()
    warehouse = world.warehouse()
    while True:
        world.say(feedback(f"g{steps}"), erased(f"p{steps}"))
        expected = (expected | {f"g{steps}"}) - {f"f{steps}"}
        try:
            world.loader(most_files=2, heard=StopAt(steps), grace_ms=0).run()
        except Stopped:
            steps += 1
            assert sorted(events(warehouse)) == sorted(expected)
        else:
            break
    assert steps > 10
    assert sorted(events(warehouse)) == sorted(expected)


def test_a_stop_at_any_step_of_a_rebuild_leaves_the_old_files_in_force(world: World) -> None:
    some_days(world)
    world.loader().run()
    warehouse = world.warehouse()
    warehouse.refresh()
    stops = 0
    while True:
        try:
            world.loader(stretch=12, heard=StopAt(stops), grace_ms=0).rebuild()
        except Stopped:
            stops += 3
            assert sorted(events(warehouse)) == EVERYTHING
            assert warehouse.lag_events == 0
        else:
            break
    assert stops > 10


def test_a_stop_at_any_step_of_a_first_load_is_made_good_by_the_next(world: World) -> None:
    some_days(world)
    for stop in range(12):
        with pytest.raises(Stopped):
            world.loader(stretch=6, heard=StopAt(stop)).run()
    world.loader(stretch=6).run()
    assert manifests.read(world.blobs).watermark == 16
    named = {file.name for file in manifests.read(world.blobs).parts}
    named |= {dropped.name for dropped in manifests.read(world.blobs).dropped}
    found = {p.relative_to(world.folder).as_posix() for p in world.folder.rglob("*.parquet")}
    assert found == named
    assert sorted(events(world.warehouse())) == EVERYTHING


def test_a_rebuild_from_the_log_answers_every_question_as_before(world: World) -> None:
    some_days(world)
    loader = world.loader(stretch=4)
    loader.run()
    questions = ("by_prompt_version", "satisfaction_by_day", "unit_totals", "export_rows", "join_health")  # fmt: skip
    warehouse = world.warehouse()
    before = [warehouse.query(name, tenant_id=None).rows for name in questions]
    tail_only = World(world.folder.parent / "other")
    some_days(tail_only)
    assert [tail_only.warehouse().query(q, tenant_id=None).rows for q in questions] == before
    tail_only.close()
    loader.rebuild()
    assert [warehouse.query(name, tenant_id=None).rows for name in questions] == before


def test_loading_goes_on_where_it_stopped_and_makes_files_by_day(world: World) -> None:
    some_days(world)
    first = world.loader().run()
    assert (first.facts, first.watermark) == (16, 16)
    world.say(feedback("late"))
    again = world.loader().run()
    assert (again.facts, again.watermark) == (1, 17)
    assert world.loader().run().facts == 0
    days = {(file.day, file.until) for file in manifests.read(world.blobs).parts}
    # The first two days are in a week that is over.
    assert days == {("2024-10-01", "2024-10-02"), ("2024-10-03", ""), ("2024-10-04", "")}


def test_a_replaced_file_stays_for_a_while_and_then_goes(world: World) -> None:
    for k in range(2):
        world.say(feedback(f"f{k}"))
        world.loader().run()
    old = [world.folder / file.name for file in manifests.read(world.blobs).parts]
    world.clock.advance(seconds=86_400)
    world.loader().run()
    assert all(path.exists() for path in old)
    world.clock.advance(seconds=601)
    world.loader().run()
    assert not any(path.exists() for path in old)
    assert manifests.read(world.blobs).dropped == ()


def test_a_report_sees_facts_that_are_not_loaded_and_runs_the_loader_when_there_are_many(
    world: World,
) -> None:
    world.say(*(feedback(f"f{k}") for k in range(5)))
    warehouse = world.warehouse(tail=5)
    assert len(events(warehouse)) == 5
    assert (warehouse.watermark, warehouse.lag_events) == (0, 5)
    world.say(feedback("f5"))
    assert len(events(warehouse)) == 6
    assert (warehouse.watermark, warehouse.lag_events) == (6, 0)


def test_a_second_loader_is_refused_and_a_report_then_reads_the_whole_log(world: World) -> None:
    world.say(*(feedback(f"f{k}") for k in range(5)))
    warehouse, lease = world.warehouse(tail=1), world.lease()
    epoch = lease.acquire(LEASE, ttl_s=60.0)
    assert epoch is not None
    with pytest.raises(LoaderBusy, match="another loader"):
        world.loader().run()
    assert len(events(warehouse)) == 5
    lease.release(LEASE, epoch)
    world.loader().run()
    assert len(events(warehouse)) == 5
    assert warehouse.lag_events == 0


def test_the_logs_trimming_waits_for_the_warehouse(world: World) -> None:
    some_days(world)
    database = SqliteDatabase(world.folder.parent / "state.db")
    consumers = Consumers(database)
    loader = world.loader(consumers=consumers, database=database)
    assert consumers.slowest() == 0
    loader.run()
    assert consumers.position(CONSUMER) == 16
    loader.rebuild()
    assert consumers.position(CONSUMER) == 16
    database.close()


@pytest.mark.parametrize("check_digests", [True, False])
def test_a_missing_file_is_named_with_what_to_do(world: World, check_digests: bool) -> None:
    world.say(feedback("f1"))
    world.loader().run()
    (world.folder / manifests.read(world.blobs).parts[0].name).unlink()
    with pytest.raises(WarehouseCorrupt, match=r"feedback/.*rebuilt from the log"):
        world.warehouse(check_digests=check_digests).refresh()


def test_a_damaged_file_is_found_before_it_is_read_or_merged(world: World) -> None:
    for k in range(2):
        world.say(feedback(f"f{k}"))
        world.loader().run()
    path = world.folder / manifests.read(world.blobs).parts[0].name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WarehouseCorrupt, match="digest"):
        world.warehouse().refresh()
    with pytest.raises(WarehouseCorrupt, match="digest"):
        world.warehouse(check_digests=False).verify()
    world.clock.advance(seconds=86_400)
    with pytest.raises(WarehouseCorrupt, match="digest"):
        world.loader().run()
    assert world.loader().rebuild().watermark == 2
    assert events(world.warehouse()) == ["f0", "f1"]


def test_a_file_that_is_no_parquet_is_a_clear_error_even_without_digests(world: World) -> None:
    world.say(feedback("f1"))
    world.loader().run()
    file = manifests.read(world.blobs).parts[0]
    (world.folder / file.name).write_bytes(b"x" * file.size)
    with pytest.raises(WarehouseCorrupt, match="rebuilt from the log"):
        world.warehouse(check_digests=False).query("stats", tenant_id="acme")


def test_an_unreadable_manifest_is_a_clear_error(world: World) -> None:
    world.say(feedback("f1"))
    world.loader().run()
    newest = parts.name_of(manifests.read(world.blobs).number)
    (world.folder / newest).write_bytes(b"{")
    with pytest.raises(WarehouseCorrupt, match="cannot be read"):
        world.warehouse().refresh()


def test_tables_of_a_newer_version_are_refused_and_older_ones_are_projected_again(
    world: World,
) -> None:
    some_days(world)
    world.loader().run()
    found = manifests.read(world.blobs)
    newer = manifests.publish(world.blobs, found, format=TABLES_VERSION + 1)
    with pytest.raises(Broken, match="upgrade"):
        world.warehouse().refresh()
    manifests.publish(world.blobs, newer, format=TABLES_VERSION - 1)
    warehouse = world.warehouse()
    assert sorted(events(warehouse)) == EVERYTHING
    assert manifests.read(world.blobs).format == TABLES_VERSION
    assert warehouse.lag_events == 0
