from __future__ import annotations

from typing import Any

import pytest
from tests.unit.warehouse.world import (
    DAY,
    DOWN,
    NOW,
    UP,
    World,
    call,
    consented,
    decision,
    erased,
    feedback,
    step,
)

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.events import Decided, Received
from loopwright.core.feedback import (
    Annotation,
    Correction,
    Measurement,
    Outcome,
    Rating,
    Signal,
    Target,
)
from loopwright.warehouse import QUERIES
from loopwright.warehouse import manifest as manifests

REQUIRED: dict[str, dict[str, Any]] = {
    "by_segment": {"dimension": "locale"},
    "distribution": {"dimension": "task"},
    "call_numbers": {"dimension": "cost"},
    "steps_of_session": {"session_id": "s1"},
    "rows_of_person": {"person": "u1"},
}


def a_busy_day(world: World) -> None:
    world.say(
        Decided(decision("d1")),
        call(
            "i1", trace_id="t1", session_id="s1", message_id="m1", decision_id="d1",
            prompt_version="p1", model_version="v1", task="support", query="Where is it?",
        ),
        call("i2", trace_id="t2", session_id="s2", prompt_version="p2", model_version="v2", cost=0.5),
        feedback("f1", UP, target=Target(decision_id="d1"), person="u1", category="tone"),
        feedback("f2", Rating(2, "stars", 1, 5), target=Target(output_id="i2"), person="u2"),
        feedback("f3", Correction("a", "b", "wrong", 0.5), target=Target(trace_id="t2")),
        feedback("f4", Outcome("resolved", 1.0), target=Target(session_id="s1", message_id="m1")),
        feedback("f5", Signal("copy"), target=Target(trace_id="t1", span_id="unknown")),
        feedback("f6", Outcome("resolved", 0.0), target=Target(output_id="i9")),
        feedback("f7", Measurement("latency", 3.0, "s")),
        feedback("f8", Annotation("tone", 1, "good", "r1", 0.9)),
        Received("f9", NOW, decision("d1", arm_id="b"), Outcome("reward", 1.0)),
        step("x1", outcome="success"),
    )  # fmt: skip


@pytest.mark.parametrize("tenant_id", ["acme", None])
def test_a_query_returns_the_columns_it_declares_with_and_without_a_tenant(
    world: World, tenant_id: str | None
) -> None:
    a_busy_day(world)
    warehouse = world.warehouse()
    kinds = {"BIGINT": int, "DOUBLE": float, "VARCHAR": str, "BOOLEAN": bool}
    for name, query in QUERIES.items():
        answer = warehouse.query(name, tenant_id=tenant_id, **REQUIRED.get(name, {}))
        sql, values = query.bind(REQUIRED.get(name, {}))
        described = world.engine.query(f"DESCRIBE {sql}", values)
        assert [column[0] for column in described] == list(answer.columns), name
        for row in answer.rows:
            for value, column in zip(row, query.columns, strict=True):
                assert value is None or isinstance(value, kinds[column.type]), (name, column.name)


def test_a_query_over_an_empty_log_answers_without_an_error(world: World) -> None:
    warehouse = world.warehouse()
    for name in QUERIES:
        rows = warehouse.query(name, tenant_id="acme", **REQUIRED.get(name, {})).rows
        assert all(v in (None, 0) or isinstance(v, str) for row in rows for v in row), name


@pytest.mark.parametrize("loaded", [True, False])
def test_feedback_finds_its_call_by_the_first_reference_that_matches(
    world: World, loaded: bool
) -> None:
    a_busy_day(world)
    if loaded:
        world.loader().run()
    warehouse = world.warehouse()
    warehouse.query("join_health", tenant_id=None)
    found = {
        row["event_id"]: (row["interaction_offset"], row["link"]) for row in world.table("linked")
    }
    first, second = 2, 3
    assert found["f1"] == (first, "decision")
    assert found["f2"] == (second, "output")
    assert found["f3"] == (second, "trace")
    assert found["f4"] == (first, "message")
    assert found["f5"] == (first, "trace")
    assert found["f6"] == (None, None)
    assert found["f9"] == (first, "decision")


def test_a_fact_that_comes_before_its_call_waits_visibly_and_joins_when_the_call_comes(
    world: World,
) -> None:
    world.say(feedback("f1", Outcome("resolved", 1.0), target=Target(output_id="i1"), task="sql"))
    world.loader().run()
    warehouse = world.warehouse()
    before = warehouse.query("join_health", tenant_id="acme").dicts()
    assert before == [
        {"task": "sql", "outcomes": 1, "joined": 0, "apart": 0, "facts": 1, "waiting": 1, "oldest_waiting_ms": NOW}
    ]  # fmt: skip
    world.say(call("i1", model_version="v1", at_ms=NOW - 1000))
    world.clock.advance(seconds=1)
    (after,) = warehouse.query("join_health", tenant_id="acme").dicts()
    assert (after["joined"], after["waiting"], after["oldest_waiting_ms"]) == (1, 0, None)


def test_the_earliest_of_two_calls_with_one_reference_counts_and_nothing_counts_twice(
    world: World,
) -> None:
    world.say(
        call("i1", trace_id="t", prompt_version="p1"),
        call("i2", trace_id="t", prompt_version="p2"),
        feedback("f1", UP, target=Target(trace_id="t")),
    )
    (row,) = world.warehouse().query("by_prompt_version", tenant_id="acme").dicts()
    assert (row["segment"], row["facts"]) == ("p1", 1)


def test_an_outcome_of_a_decision_without_a_call_waits_for_no_version(world: World) -> None:
    world.say(
        Decided(decision("d1")),
        Received("f1", NOW, decision("d1"), Outcome("reward", 1.0)),
        feedback("f2", Outcome("sold", 1.0)),
    )
    warehouse = world.warehouse()
    (bandit,) = warehouse.query("join_health", tenant_id="acme").dicts()
    assert (bandit["outcomes"], bandit["joined"], bandit["apart"]) == (2, 0, 2)

    # Once calls are sent, an outcome that names none of them is one that should have.
    world.say(call("i1", model_version="v1"))
    world.clock.advance(seconds=1)
    (mixed,) = warehouse.query("join_health", tenant_id="acme").dicts()
    assert (mixed["outcomes"], mixed["joined"], mixed["apart"]) == (2, 0, 1)


def test_ratings_are_never_mixed_with_what_else_is_named_rating(world: World) -> None:
    world.say(
        feedback("f1", UP, labels={"prompt_version": "p"}),
        feedback("f2", Measurement("rating", 4.0), labels={"prompt_version": "p"}),
        feedback("f3", Outcome("rating", -9.0), labels={"prompt_version": "p"}),
        feedback("f4", Measurement("cost", 4.0)),
    )
    warehouse = world.warehouse()
    assert [r[1] for r in warehouse.query("values_of", tenant_id="acme").rows] == [1.0]
    assert [r[3] for r in warehouse.query("version_units", tenant_id="acme").rows] == [1.0]
    assert [r[1] for r in warehouse.query("unit_totals", tenant_id="acme").rows] == [1.0]
    costs = warehouse.query("values_of", tenant_id="acme", metric="cost").rows
    assert [row[1] for row in costs] == [4.0]


def test_a_tenant_never_sees_another_tenants_rows(world: World) -> None:
    world.say(
        feedback("f1"), feedback("f2", DOWN, tenant_id="o'brien"), call("i", tenant_id="o'brien")
    )
    warehouse = world.warehouse()
    (mine,) = warehouse.query("stats", tenant_id="acme").dicts()
    (theirs,) = warehouse.query("stats", tenant_id="o'brien").dicts()
    (both,) = warehouse.query("stats", tenant_id=None).dicts()
    assert [row["thumbs_up"] for row in (mine, theirs, both)] == [1, 0, 1]
    assert [row["facts"] for row in (mine, theirs, both)] == [1, 1, 2]
    assert len(warehouse.query("export_rows", tenant_id="acme").rows) == 1


def test_a_shared_reference_does_not_join_across_tenants(world: World) -> None:
    world.say(
        call("i1", tenant_id="other", model_version="v1"),
        feedback("f1", Outcome("resolved", 1.0), target=Target(output_id="i1")),
    )
    (row,) = world.warehouse().query("join_health", tenant_id=None).dicts()
    assert (row["joined"], row["waiting"]) == (0, 1)


@pytest.mark.parametrize("loaded", [True, False])
def test_a_withdrawn_consent_takes_earlier_facts_out_of_reports_and_a_new_one_brings_them_back(
    world: World, loaded: bool
) -> None:
    world.say(feedback("f1", person="p1"), feedback("f2", person="p2"), feedback("f3"))
    if loaded:
        world.loader().run()
    warehouse = world.warehouse()
    for scopes, expected in (((), 2), (("store", "train"), 2), (("store", "analyze"), 3)):
        world.say(consented("p1", *scopes), consented("p2", "store", "analyze", tenant_id="other"))
        world.clock.advance(seconds=1)
        assert warehouse.query("stats", tenant_id="acme").dicts()[0]["facts"] == expected


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("tenant_id", ["acme", None])
def test_a_fact_that_was_given_without_consent_to_analysis_is_not_in_reports(
    world: World, loaded: bool, tenant_id: str | None
) -> None:
    """Of two files one has only facts that count, and the other has one that does not."""
    world.say(feedback("f1", consent=("store", "train")), feedback("f2"))
    world.say(feedback("f3", at_ms=NOW - DAY), call("i1", consent=("store", "analyze")))
    if loaded:
        world.loader().run()
        files = {(f.table, f.day): f.withheld for f in manifests.read(world.blobs).parts}
        assert files == {
            ("feedback", "2024-10-03"): 0,
            ("feedback", "2024-10-04"): 1,
            ("interactions", "2024-10-04"): 0,
        }
    warehouse = world.warehouse()
    assert warehouse.query("stats", tenant_id=tenant_id).dicts()[0]["facts"] == 2
    counts = warehouse.query("period_counts", tenant_id=tenant_id).dicts()
    assert {(row["relation"], row["n"]) for row in counts} == {
        ("feedback", 2),
        ("interactions", 1),
        ("withheld", 1),
    }


def test_consent_is_kept_scope_by_scope(world: World) -> None:
    world.say(feedback("f1", consent=("store", "analyze", "share")), feedback("f2"))
    world.loader().run()
    rows = world.warehouse().query("export_rows", tenant_id="acme").dicts()
    scopes = ("consent_store", "consent_analyze", "consent_train", "consent_share")
    assert [[row[name] for name in scopes] for row in rows] == [
        [True, True, False, True],
        [True, True, True, True],
    ]


@pytest.mark.parametrize("loaded", [True, False])
def test_an_erased_person_is_gone_from_every_answer_at_once_and_for_good(
    world: World, loaded: bool
) -> None:
    world.say(feedback("f1", person="p1", message="mine"), call("i1", person="p1"), feedback("f2"))
    if loaded:
        world.loader().run()
    world.say(erased("p1"), consented("p1", "store", "analyze"))
    warehouse = world.warehouse()
    assert [row[4] for row in warehouse.query("export_rows", tenant_id="acme").rows] == ["f2"]
    assert warehouse.query("stats", tenant_id="acme").dicts()[0]["facts"] == 1
    assert not any(
        row["relation"] == "interactions"
        for row in warehouse.query("period_counts", tenant_id="acme").dicts()
    )


@pytest.mark.parametrize("loaded", [True, False])
def test_a_persons_word_and_erasure_reach_the_steps_taken_for_them(
    world: World, loaded: bool
) -> None:
    world.say(step("x1", person="p1"), step("x2", person="p2"), step("x3"))
    if loaded:
        world.loader().run()

    def shown() -> list[str]:
        found = world.warehouse().query("steps_of_session", tenant_id="acme", session_id="s1")
        return sorted(row["step_id"] for row in found.dicts())

    counted = world.warehouse().query("rows_of_person", tenant_id="acme", person="p1")
    assert dict(counted.rows) == {"feedback": 0, "decisions": 0, "interactions": 0, "steps": 1}
    assert shown() == ["x1", "x2", "x3"]
    world.say(consented("p2", "store"))
    assert shown() == ["x1", "x3"]
    world.say(erased("p1"))
    assert shown() == ["x3"]
    world.loader(grace_ms=0).run()
    assert shown() == ["x3"]
    files = [path.read_bytes() for path in world.folder.rglob("steps/**/*.parquet")]
    assert files
    assert not any(b"x1" in file for file in files)


def test_the_questions_of_one_moment_share_one_reading_and_later_ones_see_new_facts(
    world: World,
) -> None:
    world.say(feedback("f1"))
    warehouse = world.warehouse()
    first = warehouse.query("stats", tenant_id="acme")
    world.say(feedback("f2"))
    assert warehouse.query("unit_totals", tenant_id="acme").offset == first.offset == 1
    world.clock.advance(seconds=0.6)
    assert warehouse.query("join_health", tenant_id="acme", as_of=first.offset).offset == 1
    assert warehouse.query("stats", tenant_id="acme").offset == 2


def test_an_export_reads_on_from_the_page_before(world: World) -> None:
    world.say(*(feedback(f"f{k}") for k in range(5)))
    world.loader().run()
    world.say(feedback("f5"))
    warehouse, seen, after = world.warehouse(), [], 0
    while rows := warehouse.query("export_rows", tenant_id="acme", after=after, limit=4).dicts():
        seen += [row["event_id"] for row in rows]
        after = rows[-1]["log_offset"]
    assert seen == [f"f{k}" for k in range(6)]


@pytest.mark.parametrize(
    ("name", "params", "complaint"),
    [
        ("stats", {"metric": "x"}, "has no parameter 'metric'"),
        ("by_segment", {}, "needs dimension"),
        ("by_segment", {"dimension": "tenant_id; DROP"}, "expected one of"),
        ("steps_of_session", {"session_id": 7}, "expected a VARCHAR"),
        ("stats", {"from_ms": 5, "to_ms": 5}, "is empty"),
    ],
)
def test_an_odd_question_is_refused_with_what_was_expected(
    world: World, name: str, params: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        world.warehouse().query(name, tenant_id="acme", **params)


def test_an_unknown_query_is_refused_with_the_names_there_are(world: World) -> None:
    with pytest.raises(NotFound, match="join_health"):
        world.warehouse().query("nonsense", tenant_id="acme")
