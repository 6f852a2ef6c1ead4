from __future__ import annotations

from typing import Any, Literal

import pytest
from tests.unit.warehouse.world import DAY, NOW, UP, World, call, feedback, step

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.feedback import Target
from loopwright.warehouse.slices import (
    BEGINNING,
    END,
    LOOKBACK_MS,
    Slice,
    bounds,
    kind_of,
    made_of,
    relation_sql,
    threads_of,
    within,
)
from loopwright.warehouse.tables import FEEDBACK, Table


def test_a_period_holds_what_happened_in_it_by_the_senders_clock(world: World) -> None:
    world.say(
        feedback("f1", occurred_at_ms=NOW - 3 * DAY),
        feedback("f2", occurred_at_ms=NOW),
        feedback("f3", occurred_at_ms=NOW + DAY),
    )
    world.loader().run()
    warehouse = world.warehouse()
    found = warehouse.query("stats", tenant_id="acme", from_ms=NOW, to_ms=NOW + DAY)
    assert found.dicts()[0]["facts"] == 1
    days = warehouse.query("satisfaction_by_day", tenant_id="acme")
    assert [row[0] for row in days.rows] == [(NOW + k * DAY) // DAY * DAY for k in (-3, 0, 1)]


def test_the_later_fact_of_one_step_wins(world: World) -> None:
    world.say(step("x1"), step("x2", taken_at_ms=NOW - 5))
    world.loader().run()
    world.say(step("x1", outcome="correction", data={"sql": "SELECT 1"}))
    rows = world.warehouse().query("steps_of_session", tenant_id="acme", session_id="s1").dicts()
    assert [(row["step_id"], row["outcome"]) for row in rows] == [
        ("x2", None),
        ("x1", "correction"),
    ]
    assert rows[1]["data"] == '{"sql":"SELECT 1"}'


def test_a_call_counts_for_feedback_up_to_thirty_days_later_and_no_longer(world: World) -> None:
    long_ago = NOW - LOOKBACK_MS
    world.say(
        call("near", at_ms=long_ago, prompt_version="p1"),
        call("far", at_ms=long_ago - 1, prompt_version="p1"),
        feedback("f1", UP, target=Target(output_id="near")),
        feedback("f2", UP, target=Target(output_id="far")),
    )
    found = world.warehouse().query(
        "by_prompt_version", tenant_id="acme", from_ms=NOW, to_ms=NOW + 1
    )
    assert {row["segment"]: row["facts"] for row in found.dicts()} == {"p1": 1, None: 1}


def test_a_question_about_a_task_counts_the_steps_of_its_calls(world: World) -> None:
    world.say(
        call("i1", task="sql"),
        call("i2", task="chat"),
        step("x1", interaction_id="i1"),
        step("x2", interaction_id="i2"),
        step("x3"),
    )
    answer = world.warehouse().query(
        "steps_of_session", tenant_id="acme", session_id="s1", task="sql"
    )
    assert [row["step_id"] for row in answer.dicts()] == ["x1"]


@pytest.mark.parametrize(
    ("from_ms", "to_ms"), [(5, 5), (6, 5), (BEGINNING - 1, 0), (0, END + 1), (END, None)]
)
def test_a_period_that_is_empty_or_beyond_any_time_is_refused(from_ms: int, to_ms: int) -> None:
    with pytest.raises(Invalid, match="is empty"):
        bounds(from_ms, to_ms)


def test_a_period_is_open_where_no_end_is_given() -> None:
    assert bounds(None, None) == (BEGINNING, END)
    assert bounds(7, None) == (7, END)
    assert within(FEEDBACK, BEGINNING, END) == "TRUE"
    assert within(FEEDBACK, 7, END) == "occurred_at_ms >= 7"
    assert within(FEEDBACK, BEGINNING, 9) == "occurred_at_ms < 9"


def slice_of(kind: Literal["TABLE", "VIEW"], task: str | None = None) -> Slice:
    return Slice(
        schema="s",
        kind=kind,
        tenant_id="acme",
        start=0,
        end=1,
        task=task,
        offset=1,
        made_at_ms=1,
        made=set(),
    )


def no_rows(table: Table, start: int, end: int, **asked: Any) -> str:
    return "SELECT 1"


def test_an_unknown_relation_is_refused_by_its_name() -> None:
    with pytest.raises(NotFound, match="no relation 'prices'"):
        relation_sql(slice_of("TABLE"), "prices", no_rows)


def test_feedback_is_read_from_the_copy_only_where_there_is_one_or_a_task_to_look_up() -> None:
    assert made_of(slice_of("TABLE"), "feedback") == ("told",)
    assert made_of(slice_of("VIEW", task="sql"), "feedback") == ("told",)
    assert made_of(slice_of("VIEW"), "feedback") == ()


def test_copies_are_answered_by_one_thread_and_wide_relations_are_never_copied() -> None:
    assert (threads_of(slice_of("TABLE")), threads_of(slice_of("VIEW"))) == (1, None)
    assert [kind_of(slice_of("TABLE"), name) for name in ("told", "wide")] == ["TABLE", "VIEW"]


def test_a_task_is_a_text_and_no_part_of_the_statement(world: World) -> None:
    world.say(call("i1", task="o'brien"), call("i2", task="x"))
    for task, calls in (("o'brien", 1), ("x' OR 'a' = 'a", 0)):
        found = world.warehouse().query("overview", tenant_id="acme", task=task).dicts()
        assert sum(row["calls"] for row in found) == calls
