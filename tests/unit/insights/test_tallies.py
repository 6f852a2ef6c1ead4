"""The queries that declarations make, asked of a real warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.warehouse.world import DOWN, UP, World, call, decision, feedback, step

from loopwright.core.clock import DAY_MS
from loopwright.core.events import Decided
from loopwright.core.feedback import Correction, Outcome, Signal, Target
from loopwright.insights.tallies import days_query, rates_query, units_query, wall_sql
from loopwright.insights.targets import CATALOGUE
from loopwright.warehouse.period import Calendar, instant

BERLIN = Calendar("Europe/Berlin")
HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_metric_rates_count_what_the_catalogue_says(world: World) -> None:
    world.say(
        Decided(decision("d1")),
        call("i1", trace_id="t1", session_id="s1", decision_id="d1", task="support"),
        call("i2", trace_id="t2", session_id="s2"),
        feedback("f1", UP, target=Target(decision_id="d1"), person="u1"),
        feedback("f2", DOWN, target=Target(output_id="i2"), person="u2"),
        feedback("f3", Correction("a", "b", "wrong", 0.5), target=Target(trace_id="t2")),
        feedback("f4", Outcome("resolved", 1.0), target=Target(session_id="s1")),
        feedback("f5", Signal("copy"), target=Target(trace_id="t1")),
        feedback("g1", Signal("abandonment"), target=Target(session_id="s2")),
        feedback("g2", Signal("refinement"), target=Target(output_id="i2")),
        step("x1", outcome="success"),
        step("x1", outcome="failure"),
        step("x2", outcome="success"),
    )
    found = world.warehouse().query(rates_query(CATALOGUE), tenant_id="acme")
    assert {name: (hits, n) for name, hits, n in found.rows} == {
        "satisfaction": (1, 2),
        "sql_accuracy": (1, 2),
        "correction": (1, 2),
        "refinement": (1, 2),
        "abandonment": (1, 2),
    }


@pytest.mark.parametrize("tenant_id", ["acme", None])
@pytest.mark.parametrize("make", [rates_query, units_query, days_query])
def test_every_query_returns_the_columns_it_declares(world, make, tenant_id) -> None:
    world.say(
        call("i1", session_id="s1"), feedback("f1", person="u1"), step("x", outcome="failure")
    )
    query = make(CATALOGUE)
    answer = world.warehouse().query(query, tenant_id=tenant_id)

    assert answer.rows
    kinds = {"BIGINT": int, "VARCHAR": str}
    for row in answer.rows:
        for value, column in zip(row, query.columns, strict=True):
            assert isinstance(value, kinds[column.type]), column.name


@pytest.mark.parametrize(
    ("day", "following", "hours"),
    [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)],
)
def test_a_day_counts_all_its_hours_and_no_other(world, day, following, hours) -> None:
    start, end = (instant("since", text, tz="Europe/Berlin") for text in (day, following))
    every = range(start - HOUR_MS, end + HOUR_MS, HOUR_MS)
    world.say(*(feedback(f"f{at}", person=f"p{at}", at_ms=at) for at in every))
    query = days_query(CATALOGUE, BERLIN.offsets(start - DAY_MS, end + DAY_MS))
    rows = world.warehouse().query(query, tenant_id="acme").dicts()

    found = {BERLIN.start_ms(row["day_ms"] // DAY_MS): row["n"] for row in rows}
    assert len(found) == 3
    assert found[start] == hours == (end - start) // HOUR_MS


def test_a_clock_that_never_changes_costs_no_case() -> None:
    assert wall_sql("at_ms", [(0, 0)]) == "at_ms"
    assert wall_sql("at_ms", [(0, 5)]) == "at_ms + 5"
    assert wall_sql("at_ms", [(0, 5), (10, 6)]) == "at_ms + CASE WHEN at_ms >= 10 THEN 6 ELSE 5 END"
