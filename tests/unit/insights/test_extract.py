from __future__ import annotations

import csv
import io
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from tests.unit.warehouse.world import DAY, NOW, World, call, consented, erased, feedback, step

from loopwright.backends.duckdb import Parquet
from loopwright.core.decision import Decision
from loopwright.core.errors import Invalid
from loopwright.core.events import Decided, Fact, Received
from loopwright.core.feedback import Correction, Outcome, Target
from loopwright.insights.extract import MOST, Exporter, Extract, PageFormat, extract

JSON = ("labels", "tags", "flags", "redactions", "wire", "metadata", "retrieval_ids", "data")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def exporter(world: World, **options: Any) -> Exporter:
    return Exporter(world.warehouse(**options), Parquet())


def decided(k: int, *, arm: str = "a", propensity: float = 0.5, **said: Any) -> Decision:
    said = {"experiment": "greeting", "tenant_id": "acme", "at_ms": NOW, **said}
    vector = struct.pack("<2d", k / 3, -k)
    return Decision(
        f"d{k}",
        said["tenant_id"],
        said["experiment"],
        arm,
        propensity,
        7,
        said["at_ms"],
        unit_id=f"u{k}",
        context_id=f"c{k}",
        vector=vector,
        metadata={"plan": "=pro", "n": k},
        rule="rollout",
    )


def a_loop() -> list[Fact]:
    facts: list[Fact] = []
    for k in range(40):
        decision = decided(k)
        facts += [
            Decided(decision),
            Received(f"r{k}", NOW, decision, Outcome("reward", k / 7)),
            call(f"o{k}", decision_id=decision.id, retrieval_ids=("x", "y"), query="=SUM(A1)"),
            feedback(f"f{k}", target=Target(output_id=f"o{k}"), message='two\nlines, "quoted"'),
            step(f"s{k}", data={"table": "sales"}, confidence=k / 40),
        ]
    return [*facts, feedback("c", Correction("a", "b", "no", 0.5), labels={"x": "y"})]


def pages(
    found: Exporter, wanted: Extract, format: PageFormat = "jsonl", *, limit: int = 10_000
) -> list[bytes]:
    content, cursor = [], 0
    while True:
        page = found.page(wanted, format=format, after=cursor, limit=limit)
        content.append(b"".join(page.content))
        if page.cursor is None:
            return content
        cursor = page.cursor


def rows(found: Exporter, wanted: Extract, *, limit: int = 10_000) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in b"".join(pages(found, wanted, limit=limit)).decode().split("\n")
        if line
    ]


def from_parquet(content: bytes) -> list[dict[str, Any]]:
    found = parquet.read_table(io.BytesIO(content)).to_pylist()
    return [
        {
            name: json.loads(value) if name in JSON else value
            for name, value in row.items()
            if value is not None
        }
        for row in found
    ]


def from_csv(content: bytes, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read cells as the types that JSON lines say they have; texts lose the apostrophe that makes them inert."""
    read = []
    table = csv.DictReader(io.StringIO(content.decode(), newline=""))
    for cells, row in zip(table, like, strict=True):
        read.append(
            {
                name: cells[name].removeprefix("'")
                if isinstance(row[name], str)
                else {"true": True, "false": False}.get(cells[name].lower())
                if isinstance(row[name], bool)
                else json.loads(cells[name])
                for name in row
            }
        )
        assert all(not cell for name, cell in cells.items() if name not in row)
    return read


@pytest.mark.parametrize("table", ["decisions", "feedback", "interactions", "steps"])
@pytest.mark.parametrize("is_projected", [False, True])
def test_the_three_formats_hold_equal_rows(world: World, table: str, is_projected: bool) -> None:
    world.say(*a_loop())
    if is_projected:
        world.loader().run()
    found, wanted = exporter(world), extract(table, "acme")
    said = rows(found, wanted)

    assert len(said) == {"feedback": 81}.get(table, 40)
    assert from_parquet(b"".join(pages(found, wanted, "parquet"))) == said
    assert from_csv(b"".join(pages(found, wanted, "csv")), said) == said


def test_a_decision_has_its_odds_and_the_very_numbers_that_scored(world: World) -> None:
    world.say(*a_loop())
    third = rows(exporter(world), extract("decisions", "acme"))[3]

    assert (third["arm_id"], third["propensity"], third["snapshot"]) == ("a", 0.5, 7)
    assert third["vector"] == [3 / 3, -3.0]
    assert third["metadata"] == {"plan": "=pro", "n": 3}
    assert (third["unit_id"], third["rule"], third["mode"]) == ("u3", "rollout", "live")


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("limit", [1, 7, 40, 41])
def test_pages_put_one_behind_the_other_are_the_whole(
    world: World, format: PageFormat, limit: int
) -> None:
    world.say(*a_loop())
    found, wanted = exporter(world), extract("interactions", "acme")

    assert b"".join(pages(found, wanted, format, limit=limit)) == pages(found, wanted, format)[0]


def test_a_page_cut_anywhere_resumes_after_its_last_whole_line(world: World) -> None:
    world.say(*a_loop())
    found, wanted = exporter(world), extract("feedback", "acme")
    whole = pages(found, wanted)[0]

    for cut in random.Random(5).sample(range(1, len(whole)), 12):
        kept = whole[: whole.rfind(b"\n", 0, cut) + 1]
        last = json.loads(kept.splitlines()[-1])["log_offset"] if kept else 0
        rest = b"".join(found.page(wanted, after=last).content)
        assert kept + rest == whole


def test_facts_that_come_between_two_pages_are_on_a_later_one(world: World) -> None:
    world.say(*a_loop())
    found, wanted = exporter(world), extract("decisions", "acme")
    first = found.page(wanted, limit=39)
    world.say(Decided(decided(99)))
    world.loader().run()
    assert first.cursor is not None
    second = b"".join(found.page(wanted, after=first.cursor).content)

    assert [json.loads(x)["decision_id"] for x in second.splitlines()] == ["d39", "d99"]


def test_rows_of_another_tenant_never_appear(world: World) -> None:
    theirs = decided(1, tenant_id="rival")
    world.say(
        *a_loop(),
        Decided(theirs),
        Received("theirs", NOW, theirs, Outcome("reward", 1.0)),
        call("theirs", tenant_id="rival"),
    )
    found = exporter(world)

    for table in ("decisions", "feedback", "interactions", "steps"):
        assert {row["tenant_id"] for row in rows(found, extract(table, "acme"))} == {"acme"}
    assert [row["decision_id"] for row in rows(found, extract("decisions", "rival"))] == ["d1"]
    assert rows(found, extract("steps", "rival")) == []


def test_only_what_may_leave_is_shared_and_the_erased_are_gone(world: World) -> None:
    world.say(
        feedback("open", person="ann"),
        feedback("inside", person="bob"),
        feedback("gone", person="eve"),
        call("o1", person="bob"),
        consented("bob", "store", "analyze"),
        erased("eve"),
    )
    found = exporter(world)

    assert [r["event_id"] for r in rows(found, extract("feedback", "acme"))] == ["open"]
    assert rows(found, extract("interactions", "acme")) == []
    inside = extract("feedback", "acme", consent="analyze")
    assert [r["event_id"] for r in rows(found, inside)] == ["open", "inside"]


def test_an_experiment_is_exported_with_what_is_about_its_decisions(world: World) -> None:
    ours, others = decided(1), decided(2, experiment="other")
    world.say(
        Decided(ours),
        Decided(others),
        Received("token", NOW, ours, Outcome("reward", 1.0)),
        feedback("by id", target=Target(decision_id="d1")),
        feedback("of the other", target=Target(decision_id="d2")),
        feedback("of none"),
        call("o1", decision_id="d1"),
        call("o2", decision_id="d2"),
    )
    found = exporter(world)

    def named(table: str, column: str) -> list[str]:
        of_one = extract(table, "acme", experiment_id="greeting")
        return [row[column] for row in rows(found, of_one)]

    assert named("decisions", "decision_id") == ["d1"]
    assert named("feedback", "event_id") == ["token", "by id"]
    assert named("interactions", "interaction_id") == ["o1"]
    with pytest.raises(Invalid, match="belong to no experiment"):
        extract("steps", "acme", experiment_id="greeting")


def test_a_period_holds_what_happened_in_it(world: World) -> None:
    world.say(
        *(Decided(decided(k, at_ms=NOW - k * DAY)) for k in range(4)),
    )
    since, until = str(NOW - 2 * DAY), str(NOW)
    found = rows(exporter(world), extract("decisions", "acme", since=since, until=until))

    assert [row["decision_id"] for row in found] == ["d1", "d2"]


def test_an_export_is_enough_to_judge_another_policy(world: World) -> None:
    rng = random.Random(11)
    odds = {"a": 0.7, "b": 0.2, "c": 0.1}
    worth = {"a": 0.2, "b": 0.5, "c": 0.8}
    facts: list[Fact] = []
    for k in range(3000):
        arm = rng.choices(list(odds), list(odds.values()))[0]
        decision = decided(k, arm=arm, propensity=odds[arm])
        reward = float(rng.random() < worth[arm])
        facts += [Decided(decision), Received(f"r{k}", NOW, decision, Outcome("reward", reward))]
    world.say(*facts)
    found = exporter(world)
    decisions = from_parquet(pages(found, extract("decisions", "acme"), "parquet")[0])
    earned = {row["decision_id"]: row["value"] for row in rows(found, extract("feedback", "acme"))}

    def value_of(arm: str) -> float:
        """Horvitz-Thompson: the mean of rewards over propensities where the other policy agrees."""
        agreed = (d for d in decisions if d["arm_id"] == arm)
        total: float = sum(earned[d["decision_id"]] / d["propensity"] for d in agreed)
        return total / len(decisions)

    assert {arm: pytest.approx(value_of(arm), abs=0.1) for arm in odds} == worth


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_export_of_nothing_has_its_columns(world: World, format: PageFormat) -> None:
    (content,) = pages(exporter(world), extract("decisions", "acme"), format)

    match format:
        case "jsonl":
            assert content == b""
        case "csv":
            assert content.startswith(b"tenant_id,log_offset,")
        case "parquet":
            schema = parquet.read_table(io.BytesIO(content)).schema
            assert schema.names[:2] == ["tenant_id", "log_offset"]
            assert str(schema.field("vector").type).startswith("list<")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"table": "consents"}, "expected one of decisions, feedback, interactions, steps"),
        ({"consent": "all"}, "expected one of share, analyze"),
        ({"since": "soon"}, "since is 'soon'"),
    ],
)
def test_words_that_name_nothing_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        extract(**{"table": "feedback", "tenant_id": "acme", **words})


def test_a_page_has_a_limit(world: World) -> None:
    for limit in (0, MOST + 1):
        with pytest.raises(Invalid, match=f"expected 1 to {MOST}"):
            exporter(world).page(extract("feedback", "acme"), limit=limit)
