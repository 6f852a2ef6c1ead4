"""Reports over a real warehouse on a real log: what people read is what was said, and only theirs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.insights.site import MONTH, a_product
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, consented, feedback, step

from loopwright.core.errors import NotFound
from loopwright.core.events import Stepped
from loopwright.core.feedback import Rating, Signal, Target
from loopwright.core.interaction import Step
from loopwright.insights.service import Insights


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_report_has_the_numbers_that_were_said(world: World) -> None:
    world.say(*a_product())
    report = Insights(world.warehouse(), clock=world.clock).report("acme", MONTH)

    lines = {line.name: line for line in report.metrics or ()}
    assert (lines["satisfaction"].value, lines["satisfaction"].n) == (0.75, 80)
    assert lines["satisfaction"].people == 40
    assert lines["correction"].value == pytest.approx(0.1)
    assert lines["sql_accuracy"].value == 1.0
    assert lines["abandonment"].value is None
    assert report.census.facts == 128
    assert report.census.calls == 80
    assert report.empty is None
    assert report.offset == world.log.head()
    by = {found.dimension: found for found in report.breakdowns or ()}
    rated = {s.segment: s.ratings for s in by["prompt_version"].segments if s.ratings}
    assert rated == {"p0": 40, "p1": 40}
    assert {s.segment: s.facts for s in by["category"].segments} == {"accuracy": 80, None: 48}
    assert report.failures is not None
    assert (report.failures.negative, report.failures.positive) == (28, 60)
    assert report.corrected is not None
    assert (report.corrected[0].query, report.corrected[0].corrected) == ("revenue by region", 8)
    assert report.joins is not None
    assert (report.joins.outcomes, report.joins.joined, report.joins.waiting) == (40, 30, 10)
    assert report.joins.has_alarm


def test_a_report_counts_what_was_said_since_the_files_were_written(world: World) -> None:
    world.say(*a_product())
    world.loader().run()
    world.say(feedback("late", UP))
    report = Insights(world.warehouse(), clock=world.clock).report(
        "acme", MONTH, include=["metrics"]
    )

    assert report.metrics is not None
    assert report.metrics[0].n == 81
    assert report.watermark < report.offset == world.log.head()
    assert report.drift is None


def test_a_report_is_the_same_twice(world: World) -> None:
    world.say(*a_product())
    insights = Insights(world.warehouse(), clock=world.clock)

    assert insights.report("acme", MONTH) == insights.report("acme", MONTH)


def test_the_period_before_is_compared_with(world: World) -> None:
    world.say(
        *(feedback(f"old{k}", DOWN, at_ms=NOW - 40 * DAY, person=f"u{k}") for k in range(50)),
        *(feedback(f"new{k}", UP, person=f"u{k}") for k in range(50)),
    )
    report = Insights(world.warehouse(), clock=world.clock).report("acme", MONTH)

    assert report.metrics is not None
    assert (report.metrics[0].previous, report.metrics[0].value) == (0.0, 1.0)


def test_an_empty_report_tells_never_from_not_then(world: World) -> None:
    insights = Insights(world.warehouse(), clock=world.clock)
    never = insights.report("acme", MONTH)
    world.say(feedback("f1", at_ms=NOW - 90 * DAY))
    world.clock.advance(seconds=5)
    not_then = insights.report("acme", MONTH)

    assert never.empty is not None
    assert never.empty.reason == "no feedback at all"
    assert not_then.empty is not None
    assert not_then.empty.reason == "none in this period"


def test_consent_withdrawn_after_the_fact_empties_the_report_and_it_says_so(world: World) -> None:
    world.say(feedback("f1", person="ann"), feedback("f2", quarantined="a burst"))
    insights = Insights(world.warehouse(), clock=world.clock)
    before = insights.report("acme", MONTH)
    world.say(consented("ann", "store"))
    world.clock.advance(seconds=5)
    after = insights.report("acme", MONTH)

    assert before.empty is None
    assert (after.census.withheld, after.census.quarantined) == (1, 1)
    assert after.empty is not None
    assert after.empty.reason == "consent"


def test_quarantined_feedback_alone_is_named_as_the_reason(world: World) -> None:
    world.say(feedback("f1", quarantined="a burst"))
    report = Insights(world.warehouse(), clock=world.clock).report("acme", MONTH)

    assert report.empty is not None
    assert report.empty.reason == "quarantine"


def test_a_tenant_sees_nothing_of_another(world: World) -> None:
    world.say(*a_product(), feedback("theirs", DOWN, tenant_id="rival"), step("x1"))
    insights = Insights(world.warehouse(), clock=world.clock)

    report = insights.report("rival", MONTH)
    assert report.census.facts == 1
    assert insights.stats("rival", MONTH).records == 1
    assert b"".join(insights.export("rival", MONTH)).count(b"\n") == 1
    assert insights.decisions("acme", "s1").steps[0].id == "x1"
    with pytest.raises(NotFound):
        insights.decisions("rival", "s1")


def test_a_report_about_one_task_holds_its_calls_steps_and_feedback_only(world: World) -> None:
    world.say(
        *a_product(),
        call("chat", task="chat", person="ann"),
        feedback("f1", DOWN, target=Target(output_id="chat"), person="ann"),
        step("x1", outcome="success", interaction_id="o1"),
        step("x2", outcome="failure", interaction_id="chat"),
    )
    insights = Insights(world.warehouse(), clock=world.clock)
    of_chat = {m.name: m for m in insights.report("acme", MONTH, task="chat").metrics or ()}
    of_all = {m.name: m for m in insights.report("acme", MONTH).metrics or ()}
    of_none = insights.report("acme", MONTH, task="nobody's")

    assert (of_chat["satisfaction"].n, of_chat["satisfaction"].value) == (1, 0.0)
    assert (of_chat["sql_accuracy"].n, of_chat["correction"].n) == (1, 1)
    assert (of_all["satisfaction"].n, of_all["correction"].n) == (81, 81)
    assert of_all["sql_accuracy"].n == 32
    assert of_none.empty is not None
    assert "No feedback of task 'nobody's'" in of_none.empty.sentence


def test_stats_are_averages_rates_and_breakdowns(world: World) -> None:
    world.say(
        feedback("f1", Rating(5, "stars", 1, 5), labels={"prompt_version": "p1"}, category="tone"),
        feedback("f2", Rating(2, "stars", 1, 5), labels={"prompt_version": "p2"}),
        *(feedback(f"t{k}", UP) for k in range(3)),
        feedback("t4", DOWN),
    )
    found = Insights(world.warehouse(), clock=world.clock).stats("acme", MONTH)

    assert (found.records, found.ratings, found.average_rating) == (6, 6, 3.5)
    assert (found.thumbs_up_rate, found.thumbs_down_rate) == (0.75, 0.25)
    assert {s.segment: s.average_stars for s in found.segments["prompt_version"]} == {
        None: None,
        "p1": 5,
        "p2": 2,
    }
    assert (found.by_prompt_version, found.avg_rating) == ({"p1": 5.0, "p2": 2.0}, 3.5)
    assert {s.segment: s.facts for s in found.segments["category"]} == {None: 5, "tone": 1}


def test_stats_of_nothing_have_no_averages(world: World) -> None:
    found = Insights(world.warehouse(), clock=world.clock).stats("acme", MONTH)

    assert (found.records, found.thumbs_up, found.average_rating, found.thumbs_up_rate) == (
        0, 0, None, 0.0,
    )  # fmt: skip


def test_a_session_lists_its_steps_in_order_as_last_reported(world: World) -> None:
    routed = Step(id="a", session_id="s1", kind="intent_routing", taken_at_ms=NOW - 5,
                  data={"intent": "chart"}, confidence=0.9)  # fmt: skip
    world.say(
        step("b", data={"sql": "SELECT 1"}),
        Stepped("e1", NOW, "acme", routed),
        Stepped("e2", NOW + 1, "acme", msgspec.structs.replace(routed, outcome="success")),
    )
    found = Insights(world.warehouse(), clock=world.clock).decisions("acme", "s1")

    assert [(s.id, s.outcome) for s in found.steps] == [("a", "success"), ("b", None)]
    assert found.steps[0].data == {"intent": "chart"}
    assert found.outcomes == {"success": 1, "unknown": 1}


def test_an_export_holds_every_fact_that_may_be_shared_in_both_formats(world: World) -> None:
    world.say(
        feedback("f1", Rating(4, "stars", 1, 5), message='said "so",\nand more', labels={"x": "y"}),
        feedback("f2", consent=("store", "analyze")),
        feedback("f3", Signal("copy"), quarantined="a burst"),
    )
    insights = Insights(world.warehouse(), clock=world.clock)
    lines = b"".join(insights.export("acme", MONTH)).splitlines()
    internal = b"".join(insights.export("acme", MONTH, scope="analyze")).splitlines()
    text = b"".join(insights.export("acme", MONTH, format="csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))

    first = json.loads(lines[0])
    assert [json.loads(line)["event_id"] for line in lines] == ["f1", "f3"]
    assert (first["rating"], first["labels"], first["message"]) == (
        4,
        {"x": "y"},
        'said "so",\nand more',
    )
    assert len(internal) == 3
    assert [row["event_id"] for row in rows] == ["f1", "f3"]
    assert (rows[0]["message"], rows[0]["rating"]) == ('said "so",\nand more', "4.0")


def test_an_export_of_nothing_still_has_its_header(world: World) -> None:
    insights = Insights(world.warehouse(), clock=world.clock)

    assert list(insights.export("acme", MONTH)) == [b""]
    assert b"".join(insights.export("acme", MONTH, format="csv")).startswith(b"tenant_id,")
