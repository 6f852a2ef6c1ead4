"""Reports over a real warehouse on a real log: what people read is what was said, and only theirs."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar, Request, Response
from litestar.di import Provide
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, consented, feedback, step

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.cli import run
from loopwright.core.errors import LoopError, NotFound
from loopwright.core.events import Fact, Stepped
from loopwright.core.feedback import Correction, Outcome, Rating, Signal, Target
from loopwright.core.ids import Ids
from loopwright.core.interaction import Step
from loopwright.core.principal import Principal
from loopwright.insights.report import QualityReport
from loopwright.insights.routes import InsightsController
from loopwright.insights.service import Insights
from loopwright.trust import Trust
from loopwright.warehouse.period import Period
from loopwright.web.guard import Connection, Guard, principal_of

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)
EVER = {"since": "2020-01-01", "until": "2026-01-01"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def a_product() -> list[Fact]:
    """80 calls with 60 thumbs up and 20 down, 8 corrections, 40 outcomes of which 30 are joined to a version."""
    facts: list[Fact] = []
    for k in range(80):
        at = NOW - (k % 20) * DAY
        about = Target(output_id=f"o{k}")
        person = f"u{k % 40}"
        is_bad = k % 4 == 0
        facts += [
            call(f"o{k}", at_ms=at, session_id=f"s{k}", task="sql", prompt_version=f"p{k % 2}",
                 model_version="m1", person=person, query="revenue by region"),
            feedback(f"r{k}", DOWN if is_bad else UP, target=about, at_ms=at, person=person, category="accuracy",
                     message=f"wrong date format in {k}" if is_bad else f"just what I need, {k}"),
        ]  # fmt: skip
        if k % 10 == 0:
            facts.append(feedback(f"c{k}", Correction("a", "b", "no", 0.5), target=about, at_ms=at))
        if k % 2 == 0:
            target = about if k % 8 else Target(output_id=f"unknown{k}")
            facts.append(feedback(f"q{k}", Outcome("resolved", 1.0), target=target, at_ms=at))
    return facts


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


def _problem(_: Request[Any, Any, Any], error: LoopError) -> Response[dict[str, Any]]:
    return Response({"detail": error.message, "code": error.code}, status_code=error.status)


class Site:
    """The controller with a real catalog and warehouse, asked without a network."""

    def __init__(self, world: World, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "catalog.db")
        ids = Ids(world.clock, random.Random(1))
        self.catalog = Catalog(self.database, clock=world.clock, ids=ids)
        self.catalog.tenants.create("acme", name="", actor="test")
        self.catalog.tenants.create("rival", name="", actor="test")
        warehouse = world.warehouse()

        def authenticate(connection: Connection) -> Principal:
            return self.catalog.authenticate(connection.headers["authorization"].split()[1])

        def principal(request: Request[Any, Any, Any]) -> Principal:
            return principal_of(request)

        self.app = Litestar(
            [InsightsController],
            dependencies={
                "principal": Provide(principal, sync_to_thread=False),
                "catalog": Provide(lambda: self.catalog, sync_to_thread=False),
                "warehouse": Provide(lambda: warehouse, sync_to_thread=False),
                "as_sent": Provide(lambda: list, sync_to_thread=False),
                "weighing": Provide(lambda: Trust(warehouse), sync_to_thread=False),
            },
            guards=[Guard(authenticate)],
            openapi_config=None,
            exception_handlers={LoopError: _problem},
            logging_config=None,
        )

    def key(self, *scopes: Any, tenant_id: str = "acme") -> str:
        return self.catalog.keys.create(tenant_id, scopes, name="", actor="test").secret

    def get(self, path: str, key: str, **kwargs: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                headers = {"authorization": f"Bearer {key}", **kwargs.pop("headers", {})}
                return await client.get(f"/api/v1/feedback{path}", headers=headers, **kwargs)

        return asyncio.run(ask())


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    world.say(*a_product(), step("x1", outcome="success"))
    made = Site(world, tmp_path)
    yield made
    made.database.close()


def test_the_report_is_served_as_json_and_as_a_page(site: Site) -> None:
    key = site.key("read")
    as_json = site.get("/quality/acme", key, params=EVER)
    page = site.get("/quality/acme", key, params=EVER, headers={"accept": "text/html,*/*;q=0.8"})
    asked = site.get("/quality/acme", key, params={**EVER, "format": "html"})

    assert as_json.status_code == 200, as_json.text
    report = msgspec.json.decode(as_json.content, type=QualityReport)
    assert report.census.facts == 128
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Quality report: acme" in page.text
    assert asked.headers["content-type"].startswith("text/html")


def test_insights_hold_only_the_sections_asked_for(site: Site) -> None:
    answer = site.get(
        "/insights/acme", site.key("read"), params={**EVER, "include": "metrics, joins"}
    )

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["metrics"][0]["value"] == 0.75
    assert found["joins"]["outcomes"] == 40
    assert (found["failures"], found["drift"]) == (None, None)


@pytest.mark.parametrize("path", ["/insights/acme", "/quality/acme"])
def test_another_tenants_report_does_not_exist(site: Site, path: str) -> None:
    rival = site.key("read", tenant_id="rival")

    assert site.get(path, rival).status_code == 404
    assert site.get(path.replace("acme", "nobody"), rival).status_code == 404
    assert site.get(path, site.key("admin", tenant_id="rival")).status_code == 404
    assert site.get(path, site.key("operator", tenant_id="rival")).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/insights/acme", "/quality/acme", "/decisions/s1", "/stats", "/export", "/join-health"],
)
def test_reading_needs_the_scope(site: Site, path: str) -> None:
    assert site.get(path, site.key("feedback")).status_code == 403
    assert site.get(path, "lw_nonsense").status_code == 401


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/stats", {"days": "0"}),
        ("/stats", {"days": "many"}),
        ("/stats", {"since": "2024-02-30"}),
        ("/export", {"format": "xml"}),
        ("/export", {"consent": "everything"}),
        ("/quality/acme", {"format": "pdf"}),
        ("/insights/acme", {"include": "moods"}),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_choices(
    site: Site, path: str, params: dict[str, str]
) -> None:
    answer = site.get(path, site.key("read"), params=params)

    assert answer.status_code == 422
    assert "expected" in answer.json()["detail"] or "a report has" in answer.json()["detail"]


def test_the_small_questions_are_answered_over_http(site: Site) -> None:
    key = site.key("read")
    stats = site.get("/stats", key, params=EVER).json()
    joins = site.get("/join-health", key, params=EVER).json()
    steps = site.get("/decisions/s1", key).json()
    lines = site.get("/export", key, params={**EVER, "format": "jsonl"})
    table = site.get("/export", key, params={**EVER, "format": "csv"})

    assert (stats["records"], stats["thumbs_up"], stats["thumbs_down"]) == (128, 60, 20)
    assert (joins["has_alarm"], joins["waiting"]) == (True, 10)
    assert steps["outcomes"] == {"success": 1}
    assert site.get("/decisions/none", key).status_code == 404
    assert len(lines.content.splitlines()) == 128
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 128


def test_the_command_reads_a_directory_that_nobody_serves(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOOPWRIGHT__URL", "LOOPWRIGHT__API_KEY", "LOOPWRIGHT__DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    world.say(*a_product(), *(feedback(f"d{k}", DOWN, person=f"v{k}") for k in range(100)))
    period = ["--since", "2024-09-01", "--until", "2024-11-01", "--data", str(tmp_path)]

    assert run(["report", "acme", *period, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["census"]["facts"] == 228
    assert run(["report", "acme", *period, "--check"]) == 1
    shown = capsys.readouterr().out
    assert "satisfaction" in shown
    assert "✗ missed" in shown
    page = tmp_path / "report.html"
    assert run(["report", "acme", *period, "--format", "html", "--out", str(page)]) == 0
    assert "Quality report: acme" in page.read_text("utf-8")
    assert run(["report", "--data", str(tmp_path / "nowhere")]) == 3
    assert run(["report", "acme", "--url", "http://127.0.0.1:1", "--api-key", "k"]) == 4


def test_the_command_asks_a_server_and_passes_its_refusals_on(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPWRIGHT__API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(site.app, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"--url=http://127.0.0.1:{listener.getsockname()[1]}"
            key = f"--api-key={site.key('read')}"
            period = ["--since=2024-09-01", "--until=2024-11-01"]
            assert run(["report", "acme", url, key, *period, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert run(["report", "rival", url, key]) == 2
            refused = capsys.readouterr().err
            assert run(["report", "acme", url, "--api-key=lw_nonsense"]) == 3
        finally:
            server.should_exit = True
            thread.join()

    assert found["census"]["facts"] == 128
    assert "there is no tenant 'rival'" in refused
