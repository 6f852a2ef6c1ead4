"""Typed feedback over HTTP, through the real intake, writer and tables; and the bundled pairs there and back."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from loopwright.app.acks import Acks
from loopwright.app.asgi import problem
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.decision import Decision
from loopwright.core.errors import LoopError
from loopwright.core.events import Consented, Erased, Fact, Interacted, Reported, Stepped
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import START
from loopwright.core.principal import Principal
from loopwright.core.token import Signer
from loopwright.core.upcast import decode
from loopwright.eventlog import Writer
from loopwright.feedback import Pipeline, Quarantine, TypedIntake, examples, restore
from loopwright.feedback import routes as paths
from loopwright.people import People
from loopwright.people import routes as people_paths
from loopwright.testing import ManualClock
from loopwright.texts.redact import Rules
from loopwright.web import Guard, needs

from .conftest import Server

ROOT = Path(__file__).parents[2]
SIGNER = Signer({1: bytes(range(32))}, active=1)
API = "/api/v1"


class Site:
    """The routes of typed feedback over a log in a folder."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.clock = ManualClock()
        self.ids = Ids(self.clock, random.Random(1))
        self.log = opened.enter_context(closing(SqliteEventLog(folder / "log.db")))
        self.writer = opened.enter_context(closing(Writer(self.log, self.clock)))
        people = opened.enter_context(closing(SqliteDatabase(folder / "people.db")))
        refused = opened.enter_context(closing(SqliteDatabase(folder / "quarantine.db")))
        experiment = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"),))
        self.people = People(people, clock=self.clock)
        self.quarantine = Quarantine(refused)
        self.intake = TypedIntake(
            Pipeline(SIGNER, find=lambda *_: experiment, ids=self.ids),
            people=self.people,
            quarantine=self.quarantine,
            clock=self.clock,
            ids=self.ids,
        )
        self.principal = Principal("acme", "key", frozenset({"feedback", "manage"}))

    def token(self) -> str:
        now_ms = self.clock.now_ms()
        return SIGNER.sign(Decision(self.ids(), "acme", "greeting", "a", 0.5, 1, now_ms))

    def application(self) -> Litestar:
        acks = Acks(self.writer, asyncio.get_running_loop())
        given = {
            "principal": lambda: self.principal,
            "typed_intake": lambda: self.intake,
            "append": lambda: acks.append,
            "commit": lambda: partial(self.writer.append, timeout_s=60),
            "raw_copies": lambda: None,
            "people": lambda: self.people,
            "quarantine": lambda: self.quarantine,
            "count_rows": lambda: lambda tenant, person, ids: {"feedback": 2 if person else 0},
            "scrub": lambda: lambda erasing: 0,
        }

        def told(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
            reply = problem(error)
            return Response(reply.body, status_code=reply.status, media_type="application/json")

        return Litestar(
            [*paths.CONTROLLERS, *people_paths.CONTROLLERS],
            dependencies={
                name: Provide(give, sync_to_thread=False) for name, give in given.items()
            },
            guards=[Guard(lambda connection: self.principal)],
            openapi_config=OpenAPIConfig(
                "Loopwright",
                "1",
                openapi_router=Router(
                    "/schema", route_handlers=[], include_in_schema=False, **needs(None)
                ),
            ),
            exception_handlers={LoopError: told},
            logging_config=None,
        )

    def facts(self) -> list[Fact]:
        return [fact for batch in self.log.read(START, limit=10_000) for fact in decode(batch.body)]


@pytest.fixture
def site(tmp_path: Path) -> Any:
    with ExitStack() as opened:
        yield Site(tmp_path, opened)


def visit(site: Site, act: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app=site.application())  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            await act(client)

    asyncio.run(run())


SENT: dict[str, list[dict[str, Any]]] = {
    "/feedback": [examples.NATIVE, examples.EVENT, examples.GENERATION],
    "/feedback/correction": [examples.CORRECTION],
    "/ratings": [examples.RATING],
    "/interactions": [examples.INTERACTION],
    "/steps": [examples.STEP],
}


def test_every_documented_example_is_stored_once_and_reads_back(site: Site) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        for path, items in SENT.items():
            for item in items:
                first = await client.post(API + path, json=item)
                assert first.status_code == 201, (path, first.text)
                again = await client.post(API + path, json=item)
                assert (again.status_code, again.json()["duplicate"]) == (200, True), again.text
                batch = await client.post(API + path, json={"items": [item, {"odd": 1}]})
                assert batch.status_code == 200
                assert [r["status"] for r in batch.json()["results"]] == [200, 422]

    visit(site, act)
    facts = site.facts()
    sent = [item for items in SENT.values() for item in items]
    first = [fact for fact in facts if not getattr(fact, "event_id", "").endswith((".1", ".2"))]
    assert len(first) == len(sent)
    for fact, item in zip(first, sent, strict=True):
        back = restore([fact])
        hidden = {"user_id", "customer_id", "metadata", "feedback", "outcomes"}
        assert {n: v for n, v in item.items() if n not in hidden}.items() <= back.items()
    kinds = [type(fact) for fact in facts]
    assert (kinds.count(Interacted), kinds.count(Stepped), kinds.count(Reported)) == (1, 1, 8)


def test_the_browser_snippets_batch_is_taken_on_both_paths(site: Site) -> None:
    def items() -> list[dict[str, Any]]:
        about = {"request_id": site.token(), "session_id": "s", "at_ms": site.clock.now_ms()}
        return [
            {**about, "event_id": site.ids(), "type": "signal", "kind": "dwell", "value": 812},
            {**about, "event_id": site.ids(), "type": "rating", "scale": "thumbs", "value": 1},
        ]

    async def act(client: httpx.AsyncClient) -> None:
        for path in ("/feedback", "/feedback/signals"):
            answer = await client.post(API + path, json={"items": items()})
            assert answer.json()["accepted"] == 2, answer.text

    visit(site, act)
    facts = site.facts()
    assert len(facts) == 4
    assert all(isinstance(fact, Reported) and fact.target.decision for fact in facts)


def test_the_same_fact_through_two_endpoints_is_one(site: Site) -> None:
    event_id = "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0"
    rating = {
        "event_id": event_id,
        "user_id": "u",
        "session_id": "s",
        "timestamp": "2026-11-20T09:30:00Z",
        "rating": 4,
    }

    async def act(client: httpx.AsyncClient) -> None:
        assert (await client.post(f"{API}/ratings", json=rating)).status_code == 201
        assert (await client.post(f"{API}/feedback", json=rating)).status_code == 200
        native = {
            "kind": "rating",
            "scale": "stars",
            "value": 4,
            "event_id": event_id,
            "session_id": "s",
            "user_id": "u",
            "occurred_at": "2026-11-20T09:30:00Z",
        }
        assert (await client.post(f"{API}/feedback", json=native)).status_code == 200

    visit(site, act)
    assert len(site.facts()) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/feedback", b'{"output_id": "o", "rating": 0}', 422, "rating is 0"),
        ("/feedback", b'{"output_id": "o", "rating": 6}', 422, "rating is 6"),
        ("/feedback", b'{"output_id": "o", "thumbs": "sideways"}', 422, "thumbs is 'sideways'"),
        ("/feedback", b'{"kind": "signal", "name": "\xff"}', 400, "not valid JSON"),
        ("/feedback", b"nonsense", 400, "not valid JSON"),
        ("/feedback", b"[]", 422, "send an object"),
        ("/feedback", b'{"items": []}', 422, "1 to 1000"),
        (
            "/feedback",
            b'{"output_id": "o", "rating": 3, "comment": "' + b"x" * 1_000_000 + b'"}',
            422,
            "at most 65536",
        ),
        ("/ratings", b'{"rating": 3}', 422, "UUID"),
        (
            "/feedback",
            b'{"kind":"signal","name":"c","output_id":"o","consent":[]}',
            422,
            "nothing of this was kept",
        ),
    ],
)
def test_bad_input_has_its_status_and_a_sentence(
    path: str, body: bytes, status: int, says: str, site: Site
) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        answer = await client.post(
            API + path, content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text

    visit(site, act)
    assert site.facts() == []


def test_a_key_needs_the_scope_and_a_body_its_type(site: Site) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        answer = await client.post(
            f"{API}/feedback", content=b"a=b", headers={"content-type": "text/plain"}
        )
        assert answer.status_code == 415
        site.principal = Principal("acme", "key", frozenset({"select"}))
        for method, path in (
            ("POST", "/feedback"),
            ("POST", "/feedback/correction"),
            ("POST", "/feedback/signals"),
            ("POST", "/ratings"),
            ("POST", "/interactions"),
            ("POST", "/steps"),
            ("GET", "/quarantine"),
            ("GET", "/quarantine/x"),
            ("POST", "/quarantine/x/replay"),
            ("DELETE", "/quarantine/x"),
            ("POST", "/people/u/erase"),
        ):
            answer = await client.request(method, API + path)
            assert answer.status_code == 403, (method, path, answer.text)

    visit(site, act)


def test_a_refused_item_is_inspected_replayed_and_discarded(site: Site) -> None:
    late = Signer({2: bytes(32)}, active=2).sign(
        Decision(site.ids(), "acme", "greeting", "a", 0.5, 1, site.clock.now_ms())
    )

    async def act(client: httpx.AsyncClient) -> None:
        item = {"kind": "rating", "scale": "thumbs", "value": 1, "request_id": late}
        refused = await client.post(f"{API}/feedback", json={**item, "user_id": "u"})
        assert refused.status_code == 403
        held = refused.json()["quarantine_id"]
        site.clock.advance(seconds=1)  # ids of one millisecond have no order
        other = await client.post(f"{API}/feedback", json={"output_id": "o", "thumbs": "sideways"})
        listed = (await client.get(f"{API}/quarantine")).json()
        assert [entry["code"] for entry in listed["items"]] == ["token_key_retired", "invalid"]
        assert (await client.get(f"{API}/quarantine/{held}")).json()["body"]["value"] == 1
        assert (await client.post(f"{API}/quarantine/{held}/replay")).status_code == 403
        site.intake.pipeline.signer = Signer({1: bytes(range(32)), 2: bytes(32)}, active=1)
        assert (await client.post(f"{API}/quarantine/{held}/replay")).status_code == 201
        assert (await client.get(f"{API}/quarantine/{held}")).status_code == 404
        held = other.json()["quarantine_id"]
        assert (await client.delete(f"{API}/quarantine/{held}")).status_code == 204
        assert (await client.get(f"{API}/quarantine")).json()["held"] == 0

    visit(site, act)
    assert len(site.facts()) == 1


def test_a_person_changes_their_consent_and_is_erased(site: Site) -> None:
    item = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}

    async def act(client: httpx.AsyncClient) -> None:
        assert (await client.post(f"{API}/feedback", json=item)).status_code == 201
        said = await client.post(f"{API}/people/u/consent", json={"scopes": ["store"]})
        assert (said.status_code, said.json()["scopes"]) == (200, ["store"])
        odd = await client.post(f"{API}/people/u/consent", json={"scopes": ["fly"]})
        assert odd.status_code == 422
        gone = await client.post(f"{API}/people/u/erase")
        assert gone.status_code == 200, gone.text
        assert gone.json()["rows"] == {"feedback": 2}
        assert (await client.post(f"{API}/people/u/erase")).status_code == 404

    visit(site, act)
    rated, consented, erased = site.facts()
    assert isinstance(rated, Reported)
    assert isinstance(consented, Consented)
    assert isinstance(erased, Erased)
    assert rated.note.person == consented.person == erased.person
    with pytest.raises(LoopError):
        site.people.find("acme", "u")


def test_the_openapi_document_shows_every_shape(site: Site) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        document = (await client.get("/schema/openapi.json")).json()
        for path in (*SENT, "/feedback/signals"):
            operation = document["paths"][API + path]["post"]
            media = operation["requestBody"]["content"]["application/json"]
            assert media["examples"], path
            assert {"200", "201", "400", "403", "422"} <= set(operation["responses"])

    visit(site, act)


def test_preference_pairs_come_out_as_they_went_in(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pairs", ROOT / "examples/preference_pairs.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    counts = example.main(str(tmp_path / "data"))
    assert counts["pairs"] == 1500
    assert (counts["new"], counts["again"]) == (6000, 0)
    assert (counts["Rating"], counts["Annotation"]) == (3000, 3000)
    with (tmp_path / "data/pairs.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    with (tmp_path / "data/pairs.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    changed = 0
    for sent, got in zip(example.bundled_pairs(), rows, strict=True):
        for name, text in sent.items():
            if got[name] != text:  # only where something personal was taken out
                assert Rules().redact(text, bytes(16)).counts
                changed += 1
    assert changed < 100


def test_ratings_train_an_experiment_whose_metric_they_are(server: Server) -> None:
    server.experiment("stars", reward={"metric": "rating", "type": "bounded"})
    for n in range(60):
        chosen = server.select("stars")
        value = 5 if chosen["arm"]["id"] == "b" else 1
        item = {"kind": "rating", "scale": "stars", "request_id": chosen["request_id"]}
        # The second word of the same person contradicts the first: it is kept, and does not train.
        for said in (value, 6 - value) if n == 0 else (value,):
            answer = server.post("/feedback", {**item, "value": said, "user_id": "u"})
            assert answer.status_code == 201, answer.text
    status = server.await_status("stars", feedback=60)
    assert status["feedback"] == 60
    means = {arm["arm_id"]: (arm["n"], arm["mean"]) for arm in status["arms"]}
    assert means["b"] == (means["b"][0], pytest.approx(1.0))
    assert means["a"] == (60 - means["b"][0], pytest.approx(0.0))

    lines = server.get("/feedback/insights/default").json()["metrics"]
    satisfaction = next(line for line in lines if line["name"] == "satisfaction")
    assert satisfaction["n"] == 61
    exported = [
        json.loads(line)
        for line in server.get("/feedback/export", params={"format": "jsonl"}).text.splitlines()
    ]
    assert [row["kind"] for row in exported] == ["rating"] * 61
