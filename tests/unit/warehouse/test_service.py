from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.warehouse.world import World, call, erased, feedback, step

from loopwright.backends.duckdb import DuckDB
from loopwright.core.errors import DiskFull, LoopError

FACTS = 30


def test_a_question_during_loading_counts_every_fact_once(world: World) -> None:
    """The loader deletes what no manifest names while the reader takes the tail of the log in."""
    world.say(feedback("f0"))
    world.loader().run()
    warehouse, wrong = world.warehouse(), list[str]()
    is_done = threading.Event()

    def load() -> None:
        while not is_done.is_set():
            world.loader().run()

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for n in range(1, FACTS):
            world.say(feedback(f"f{n}"))
            try:
                found = warehouse.query("export_rows", tenant_id=None)
            except LoopError as error:
                wrong.append(f"{type(error).__name__}: {error}")
                continue
            events = sorted(row[4] for row in found.rows)
            if events != sorted(f"f{k}" for k in range(n + 1)):
                wrong.append(f"{n}: {len(events)} rows")
    finally:
        is_done.set()
        loading.join()
    assert wrong == []


class Failing(DuckDB):
    """An engine whose disk refuses the n-th statement that starts with a word."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fails: dict[str, int] = {}

    def query(
        self, sql: str, params: Any = (), *, threads: int | None = None
    ) -> list[tuple[Any, ...]]:
        for word in self.fails:
            if sql.startswith(word):
                self.fails[word] -= 1
                if self.fails[word] == 0:
                    raise DiskFull("no space")
        return super().query(sql, params, threads=threads)


@pytest.mark.parametrize(
    "fails", [{"INSERT": 1}, {"INSERT": 2}, {"INSERT": 3}, {"INSERT": 2, "DELETE": 1}]
)
def test_a_tail_that_fails_half_way_counts_nothing_twice(
    world: World, fails: dict[str, int]
) -> None:
    world.say(feedback("f0"))
    engine = Failing(world.folder)
    warehouse = world.warehouse(engine=engine)
    assert len(warehouse.query("export_rows", tenant_id="acme").rows) == 1
    world.say(call("i1"), feedback("f1"), step("s1"), feedback("f2"), erased("p9"))
    world.clock.advance(seconds=1)
    engine.fails = dict(fails)
    with pytest.raises(DiskFull):
        warehouse.query("export_rows", tenant_id="acme")
    engine.fails = {}
    for tenant_id in ("acme", None):
        rows = warehouse.query("export_rows", tenant_id=tenant_id).rows
        assert [row[4] for row in rows] == ["f0", "f1", "f2"]
    assert warehouse.lag_events == 6


def test_a_fresh_answer_holds_what_came_since_the_answer_before(world: World) -> None:
    """An erasure counts what it deletes: a copy that is some moments old would lack the latest facts."""
    warehouse = world.warehouse()

    def count(*, is_fresh: bool) -> dict[str, int]:
        found = warehouse.query("rows_of_person", tenant_id="acme", person="p1", is_fresh=is_fresh)
        return dict(found.rows)

    assert count(is_fresh=False)["steps"] == 0
    world.say(step("x1", person="p1"))
    assert count(is_fresh=False)["steps"] == 0  # the copy is shared for a moment
    assert count(is_fresh=True)["steps"] == 1
