from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.warehouse.test_queries import a_busy_day
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, feedback

from loopwright.core.feedback import Outcome, Rating, Target


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_tenants_are_compared_side_by_side(world: World) -> None:
    a_busy_day(world)
    world.say(feedback("g", DOWN, tenant_id="b"), feedback("h", quarantined="x", tenant_id="b"))
    first, second = world.warehouse().query("tenants", tenant_id=None).dicts()
    assert (first["tenant_id"], first["calls"], first["cost"], first["facts"]) == (
        "acme",
        2,
        0.5,
        9,
    )
    assert (first["ratings"], first["satisfaction"], first["corrections"]) == (2, 0.625, 1)
    assert (first["outcomes"], first["outcome_value"]) == (3, 2 / 3)
    assert (second["calls"], second["cost"], second["facts"], second["positive"]) == (0, None, 1, 0)


def test_quarantined_facts_are_kept_and_exported_but_do_not_count(world: World) -> None:
    world.say(feedback("f1"), feedback("f2", quarantined="a burst"))
    warehouse = world.warehouse()
    assert warehouse.query("stats", tenant_id="acme").dicts()[0]["facts"] == 1
    assert len(warehouse.query("export_rows", tenant_id="acme").rows) == 2
    (counts,) = warehouse.query("period_counts", tenant_id="acme").dicts()
    assert (counts["n"], counts["quarantined"]) == (2, 1)


def test_positive_is_a_thumb_up_or_four_stars_and_the_mean_is_of_ratings_alone(
    world: World,
) -> None:
    world.say(
        feedback("f1", UP),
        feedback("f2", DOWN),
        feedback("f3", Rating(4, "stars", 1, 5)),
        feedback("f4", Rating(3, "stars", 1, 5)),
        feedback("f5", Outcome("resolved", 0.25)),
    )
    (row,) = world.warehouse().query("stats", tenant_id="acme").dicts()
    assert (row["facts"], row["ratings"], row["positive"]) == (5, 4, 2)
    assert row["satisfaction"] == pytest.approx((1 + 0 + 0.75 + 0.5) / 4)
    assert (row["average_stars"], row["thumbs_up"], row["thumbs_down"]) == (3.5, 1, 1)
    assert (row["outcomes"], row["outcome_value"]) == (1, 0.25)


def test_people_are_counted_once_and_an_item_inside_another_is_a_fact_and_no_item(
    world: World,
) -> None:
    world.say(
        feedback("f1", person="p1"),
        feedback("f2", person="p1", shape="inner"),
        feedback("f3", person="p2"),
        feedback("f4"),
    )
    (row,) = world.warehouse().query("stats", tenant_id="acme").dicts()
    assert (row["facts"], row["people"], row["items"]) == (4, 2, 3)


def test_a_day_begins_at_midnight_utc(world: World) -> None:
    midnight = NOW // DAY * DAY
    world.say(feedback("f1", at_ms=midnight - 1), feedback("f2", DOWN, at_ms=midnight))
    found = world.warehouse().query("satisfaction_by_day", tenant_id="acme").rows
    assert found == [(midnight - DAY, 1, 1, 1.0), (midnight, 1, 0, 0.0)]


def test_a_dimension_is_that_of_the_call_where_the_feedback_does_not_say(world: World) -> None:
    world.say(
        call("i1", prompt_version="p1"),
        feedback("f1", UP, target=Target(output_id="i1")),
        feedback("f2", UP, target=Target(output_id="i1"), labels={"prompt_version": "p2"}),
        feedback("f3", DOWN),
    )
    warehouse = world.warehouse()
    found = warehouse.query("by_prompt_version", tenant_id="acme").dicts()
    assert sorted((str(row["segment"]), row["facts"]) for row in found) == [
        ("None", 1),
        ("p1", 1),
        ("p2", 1),
    ]
    asked = warehouse.query("by_segment", tenant_id="acme", dimension="prompt_version").dicts()
    assert asked == found
