from __future__ import annotations

from tests.unit.datasets.conftest import NOW, Desk

from loopwright.datasets.rows import QUERIES, Row, count, parts


def test_all_feedback_of_one_input_is_in_one_part_whatever_the_number_of_parts(desk: Desk) -> None:
    for n in range(30):
        desk.say(
            desk.rating(f" How {n}? ", "a", 5, who="ada"),
            desk.rating(f"how {n}?", "b", 1, who="ada"),
        )
    warehouse = desk.services.reports.warehouse
    bounds = {"watermark": warehouse.refresh(), "from_ms": 0, "to_ms": NOW + 1}
    assert count(warehouse, "default", **bounds) == 60
    whole = [*parts(warehouse, "default", **bounds, consent="train", many=1)]
    dealt = [*parts(warehouse, "default", **bounds, consent="train", many=7)]
    assert sorted(row.event_id for part in dealt for row in part) == sorted(
        row.event_id for row in whole[0]
    )
    homes: dict[str | None, set[int]] = {}
    for n, part in enumerate(dealt):
        for row in part:
            homes.setdefault(row.input, set()).add(n)
    assert len(homes) == 30
    assert all(len(found) == 1 for found in homes.values())


def test_what_lies_beyond_the_watermark_is_not_read(desk: Desk) -> None:
    desk.say(desk.rating("How?", "a", 5, who="ada"))
    warehouse = desk.services.reports.warehouse
    bounds = {"watermark": warehouse.refresh(), "from_ms": 0, "to_ms": NOW + 1}
    desk.say(desk.rating("How?", "b", 1, who="ada"))
    (found,) = parts(warehouse, "default", **bounds, consent="train", many=1)
    assert [row.response for row in found] == ["a"]


def test_the_queries_return_the_columns_that_they_declare() -> None:
    assert [column.name for column in QUERIES[1].columns] == list(Row.__struct_fields__)
