from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tests.unit.warehouse.world import NOW, World, call, consented, decision, erased, feedback, step

from loopwright.core.context import pack
from loopwright.core.decision import ERASED
from loopwright.core.events import Decided, Received, Ticked
from loopwright.core.feedback import Annotation, Correction, Measurement, Outcome, Rating, Signal
from loopwright.warehouse.project import project
from loopwright.warehouse.tables import FEEDBACK


def test_rows_carry_every_text_exactly(world: World) -> None:
    odd = 'line\nbreak, "quotes", tab\t, naïve ☃ 🎈, \\ and \x01'
    world.say(
        feedback("f1", message=odd, labels={"a": odd}, tags=("x", odd), wire={"n": [1, None]})
    )
    world.loader().run()
    (row,) = world.warehouse().query("export_rows", tenant_id="acme").dicts()
    assert row["message"] == odd
    assert row["wire"] == '{"n":[1,null]}'
    assert list(row) == list(FEEDBACK.names)


def test_a_number_too_large_for_a_column_does_not_stop_the_projection(world: World) -> None:
    world.say(
        call("i1", input_tokens=2**63, output_tokens=5),
        feedback("f1", Outcome("x", float("nan")), occurred_at_ms=2**63),
        feedback("f2", Outcome("x", 1e308), message="x" * 1_000_000),
    )
    world.loader().run()
    warehouse = world.warehouse()
    assert warehouse.query("period_counts", tenant_id="acme").rows[0][2] == 2
    assert warehouse.query("values_of", tenant_id="acme", metric="x").rows == [(NOW, 1e308)]


def rows(table: str, *facts: Any) -> list[dict[str, Any]]:
    """Return what `facts`, at offsets 1, 2, …, become in a table, NULLs left out."""
    found = project(enumerate(facts, 1))[table]
    return [
        {name: value for name in row.__struct_fields__ if (value := getattr(row, name)) is not None}
        for row in found
    ]


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        (Rating(4, "stars", 1, 5), ("rating", "rating", 0.75)),
        (Signal("dwell", 3.0), ("signal", "dwell", 3.0)),
        (Signal("copy"), ("signal", "copy", 1.0)),
        (Outcome("resolved", 0.5), ("outcome", "resolved", 0.5)),
        (Measurement("latency", 3.0, "s"), ("measurement", "latency", 3.0)),
        (Correction("a", "b", "", 0.5), ("correction", "correction_distance", 0.5)),
        (Annotation("tone", 2, "good", "r1", 0.9), ("annotation", "tone", 0.9)),
    ],
)
def test_each_kind_of_feedback_has_its_name_its_metric_and_its_number(
    said: Any, numbers: tuple[Any, ...]
) -> None:
    (row,) = rows("feedback", feedback("f1", said))
    assert (row["kind"], row["metric"], row.get("value")) == numbers


def test_a_rating_keeps_both_what_was_given_and_where_that_is_on_its_scale() -> None:
    (row,) = rows("feedback", feedback("f1", Rating(2, "stars", 1, 5)))
    assert (row["rating"], row["satisfaction"], row["low"], row["high"]) == (2, 0.25, 1, 5)


def test_an_empty_explanation_is_no_text() -> None:
    (row,) = rows("feedback", feedback("f1", Correction("a", "b", "", 0.5)))
    assert (row["before_text"], row["after_text"], "explanation" in row) == ("a", "b", False)


def test_a_reward_that_was_derived_makes_no_second_row() -> None:
    received = Received("r1", NOW, decision("d1"), Outcome("reward", 1.0))
    derived = msgspec.structs.replace(received, derived=True)
    assert [row["log_offset"] for row in rows("feedback", received, derived)] == [1]


def test_a_decision_of_an_erased_unit_is_projected_no_more() -> None:
    gone = msgspec.structs.replace(decision("d1"), unit_id=ERASED + "1")
    facts = (
        Decided(gone),
        Received("r1", NOW, gone, Outcome("reward", 1.0)),
        Decided(decision("d2")),
    )
    assert [row["decision_id"] for row in rows("decisions", *facts)] == ["d2"]
    assert rows("feedback", *facts) == []


def test_the_vector_reads_back_as_the_numbers_that_scored() -> None:
    vector = (0.1, 1 / 3, 2.0**-30, -5.0)
    scored = msgspec.structs.replace(decision("d1"), vector=pack(vector, dimension=4))
    (row,) = rows("decisions", Decided(scored))
    assert tuple(msgspec.json.decode(row["vector"])) == vector


def test_a_withheld_scope_is_false_and_a_granted_one_is_left_to_the_usual_value() -> None:
    (row,) = rows("feedback", feedback("f1", consent=("store", "share")))
    assert {name: row[name] for name in row if name.startswith("consent_")} == {
        "consent_analyze": False,
        "consent_train": False,
    }


def test_an_erasure_withholds_every_scope() -> None:
    said, forgotten = rows("consents", consented("p1", "store"), erased("p1"))
    assert (said["is_erasure"], said.get("consent_store")) == (False, None)
    assert forgotten["is_erasure"] is True
    assert [forgotten[f"consent_{s}"] for s in ("store", "analyze", "train", "share")] == [
        False
    ] * 4


def test_a_fact_that_is_no_row_of_any_table_is_passed_over() -> None:
    assert all(found == [] for found in project([(1, Ticked(NOW))]).values())


@pytest.mark.parametrize("said_ms", [2**62, -(2**62), 2**80])
def test_a_senders_time_that_fits_no_column_gives_way_to_ours(said_ms: int) -> None:
    (row,) = rows("steps", step("x1", taken_at_ms=said_ms))
    assert (row["taken_at_ms"], row["at_ms"]) == (NOW, NOW)


def test_a_number_that_is_not_finite_is_written_as_no_number() -> None:
    (row,) = project([(1, call("i1", cost=math.inf))])["interactions"]
    assert b"inf" not in msgspec.json.encode(row).lower()
