"""The control plane over HTTP: real catalog, learner, key ring and SQLite behind the controllers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.testing import TestClient
from tests.unit.catalog.routes.caller import GREETING, Caller, Client, code

from loopwright.app.asgi import problem
from loopwright.app.keyring import KeyRing
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.catalog import Catalog, Counted, Usage
from loopwright.catalog.routes import CONTROLLERS
from loopwright.core.decision import Decision
from loopwright.core.errors import LoopError, Unauthenticated
from loopwright.core.events import Decided, Fact, Received
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.core.principal import SCOPES, Principal
from loopwright.eventlog import Reader, Writer
from loopwright.learning import Learner
from loopwright.learning.routes import LearningController
from loopwright.policies import Snapshots
from loopwright.testing import ManualClock
from loopwright.web.guard import Connection, Guard, needs, principal_of


class Loop:
    """The log and the learner under the control plane, with facts put in by hand."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self._log = SqliteEventLog(folder / "log.db")
        self._state = SqliteDatabase(folder / "state.db")
        self._clock = clock
        self._ids = Ids(clock, random.Random(2))
        reader = Reader(self._log)
        self._writer = Writer(self._log, clock)
        self._writer.subscribe(reader.wake)
        self.learner = Learner(
            reader,
            self._writer,
            database=self._state,
            snapshots=Snapshots(),
            head=self._log.head,
            clock=clock,
        )
        self.learner.start()

    def decide(self, arm_id: str, *rewards: float, silent: int = 0) -> int:
        """Log decisions for one arm, some with a reward and some without; return the log's head."""
        facts: list[Fact] = []
        for reward in [*rewards, *[None] * silent]:
            decision = Decision(
                self._ids(), "acme", "greeting", arm_id, 0.5, 0, self._clock.now_ms()
            )
            facts.append(Decided(decision))
            if reward is not None:
                event = (self._ids(), self._clock.now_ms(), decision, Outcome("reward", reward))
                facts.append(Received(*event))
        self._writer.submit(facts, [None] * len(facts), lambda _: None)
        assert self._writer.flush()
        assert self.learner.wait_until(self._log.head(), 5.0)
        return self._log.head()

    def append(self, facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        """Put facts of the catalog into the log."""
        outcomes: list[Committed | LoopError] = []
        self._writer.submit(facts, keys, outcomes.append)
        assert self._writer.flush()
        assert isinstance(outcomes[0], Committed)
        return self._log.head()

    def applied(self, offset: int) -> None:
        """Wait until what the catalog changed is in force."""
        assert self.learner.wait_until_read(offset, 5.0)

    def close(self) -> None:
        self.learner.stop()
        self._writer.close()
        self._state.close()
        self._log.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock, loop: Loop) -> Iterator[Catalog]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    ids = Ids(clock, random.Random(1))
    catalog = Catalog(database, clock=clock, ids=ids, append=loop.append, applied=loop.applied)
    catalog.tenants.create("acme")
    catalog.tenants.create("globex")
    yield catalog
    database.close()


@pytest.fixture
def loop(tmp_path: Path, clock: ManualClock) -> Iterator[Loop]:
    loop = Loop(tmp_path, clock)
    yield loop
    loop.close()


class Stage:
    """What the application serves from at the moment."""

    catalog: Catalog
    loop: Loop
    ring: KeyRing


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def app(stage: Stage) -> Litestar:
    """The controllers over whatever is on stage; built once, because that takes a while."""

    def authenticate(connection: Connection) -> Principal:
        scheme, _, raw = connection.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Unauthenticated("send Authorization: Bearer lw_…")
        return stage.catalog.authenticate(raw)

    def principal(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

    def usage_of(tenant_id: str) -> Usage:
        quotas = stage.catalog.tenants.get(tenant_id).quotas
        return stage.catalog.meters.usage(tenant_id, quotas, Counted(7, 99), experiments=1)

    def told(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
        reply = problem(error)
        return Response(reply.body, status_code=reply.status, media_type=reply.media_type.decode())

    return Litestar(
        [*CONTROLLERS, LearningController],
        dependencies={
            "principal": Provide(principal, sync_to_thread=False),
            "catalog": Provide(lambda: stage.catalog, sync_to_thread=False),
            "learner": Provide(lambda: stage.loop.learner, sync_to_thread=False),
            "usage_of": Provide(lambda: usage_of, sync_to_thread=False),
            "signing_ring": Provide(lambda: stage.ring, sync_to_thread=False),
        },
        exception_handlers={LoopError: told},
        guards=[Guard(authenticate)],
        openapi_config=OpenAPIConfig(
            "Loopwright",
            "1",
            use_handler_docstrings=True,
            openapi_router=Router(
                "/schema", route_handlers=[], include_in_schema=False, **needs(None)
            ),
        ),
        logging_config=None,
    )


@pytest.fixture
def client(
    app: Litestar, stage: Stage, catalog: Catalog, loop: Loop, tmp_path: Path
) -> Iterator[Client]:
    stage.catalog, stage.loop, stage.ring = catalog, loop, KeyRing(tmp_path)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def acme(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "acme", "read", "manage")


@pytest.fixture
def globex(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "globex", "read", "manage")


@pytest.fixture
def admin(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "default", *SCOPES)


def test_another_tenants_experiment_does_not_exist(acme: Caller, globex: Caller, catalog: Catalog):
    acme("POST", "/experiments", GREETING)
    before = catalog.experiments.get("acme", "greeting")
    for method, path, body in [
        ("GET", "/experiments/greeting", None),
        ("PATCH", "/experiments/greeting", {"name": "stolen"}),
        ("POST", "/experiments/greeting/start", None),
        ("POST", "/experiments/greeting/end", None),
        ("POST", "/experiments/greeting/arms", {"id": "x"}),
        ("PATCH", "/experiments/greeting/arms/formal", {"state": "retired"}),
        ("GET", "/experiments/greeting/status", None),
        ("GET", "/experiments/greeting/snapshots", None),
        ("GET", "/experiments/greeting/snapshots/900", None),
        ("POST", "/experiments/greeting/snapshots/400/rollback", None),
        ("GET", "/experiments?tenant_id=acme", None),
        ("GET", "/experiments/greeting?tenant_id=acme", None),
        ("GET", "/keys?tenant_id=acme", None),
        ("GET", "/tenants/acme", None),
        ("POST", f"/keys/{acme.issued.key.id}/revoke", None),
        ("POST", f"/keys/{acme.issued.key.id}/rotate", None),
        ("GET", f"/keys/{acme.issued.key.id}", None),
    ]:
        assert code(globex(method, path, body)) == (404, "not_found"), (method, path)
    assert catalog.experiments.get("acme", "greeting") is before
    assert globex("GET", "/experiments").json()["items"] == []
    assert acme("GET", "/tenants").json()["items"][0]["id"] == "acme"


def test_an_unknown_tenant_and_a_foreign_one_look_the_same(globex: Caller):
    foreign = globex("GET", "/experiments?tenant_id=acme").json()["detail"]
    unknown = globex("GET", "/experiments?tenant_id=nobody").json()["detail"]
    assert foreign.replace("acme", "nobody") == unknown


def test_scopes_are_asked_for(client: Client, catalog: Catalog, acme: Caller):
    selecting = Caller(client, catalog, "acme", "select", "feedback")
    reading = Caller(client, catalog, "acme", "read")
    acme("POST", "/experiments", GREETING)
    refused = selecting("GET", "/experiments")
    assert code(refused) == (403, "forbidden")
    assert (refused.json()["found"], refused.json()["expected"]) == (["feedback", "select"], "read")
    assert reading("GET", "/experiments/greeting").status_code == 200
    for method, path, body in [
        ("POST", "/experiments", {**GREETING, "id": "other"}),
        ("PATCH", "/experiments/greeting", {"name": "x"}),
        ("POST", "/experiments/greeting/start", None),
        ("POST", "/experiments/greeting/arms", {"id": "x"}),
        ("PATCH", "/experiments/greeting/arms/formal", {}),
        ("POST", "/experiments/greeting/snapshots/400/rollback", None),
        ("GET", "/keys", None),
        ("POST", "/keys", {"scopes": ["read"]}),
        ("POST", "/tenants", {"id": "new"}),
        ("GET", "/signing-keys", None),
        ("POST", "/signing-keys/rotate", None),
        ("DELETE", "/signing-keys/1", None),
    ]:
        assert code(reading(method, path, body)) == (403, "forbidden"), (method, path)


def test_without_a_key_nothing_is_told(client: Client):
    for path in ("/experiments", "/policies", "/tenants", "/keys", "/signing-keys"):
        answer = client.get(f"/api/v1{path}")
        assert code(answer) == (401, "unauthenticated")


def test_the_status_carries_figures_and_advice(acme: Caller, loop: Loop):
    acme("POST", "/experiments", GREETING)
    acme("POST", "/experiments/greeting/start")
    loop.decide("formal", 1, 1, 0, 1)
    head = loop.decide("casual", 0, 0, silent=394)
    report = acme("GET", "/experiments/greeting/status").json()
    status = report["status"]
    assert (status["policy"], status["learner"]) == ("BetaThompson", "learning")
    assert (status["decisions"], status["feedback"], status["snapshot"]) == (400, 6, head)
    formal, casual = status["arms"]
    assert (formal["arm_id"], formal["n"], casual["n"]) == ("formal", 4, 2)
    assert formal["low"] < formal["mean"] < formal["high"]
    assert formal["share"] > casual["share"]
    assert formal["share"] + casual["share"] == pytest.approx(1)
    assert formal["p_best"] > 0.5
    assert report["feedback_rate"] == 0.015
    assert [advice["code"] for advice in report["advice"]] == ["feedback_rate_low"]
    assert "1.5% of 400 decisions" in report["advice"][0]["sentence"]


def test_a_draft_has_a_status_and_nothing_to_roll_back_to(acme: Caller):
    acme("POST", "/experiments", GREETING)
    report = acme("GET", "/experiments/greeting/status").json()
    assert (report["status"]["decisions"], report["feedback_rate"], report["advice"]) == (
        0,
        None,
        [],
    )
    assert code(acme("GET", "/experiments/greeting/snapshots")) == (409, "conflict")


def test_snapshots_are_listed_read_and_rolled_back_to(acme: Caller, loop: Loop):
    acme("POST", "/experiments", GREETING)
    acme("POST", "/experiments/greeting/start")
    at = "/experiments/greeting/snapshots"
    loop.decide("formal", 1, 1)
    good = loop.learner.take_snapshot("acme", "greeting").version
    loop.decide("formal", 0, 0, 0)
    versions = [item["version"] for item in acme("GET", at).json()["items"]]
    assert good in versions
    assert versions == sorted(versions, reverse=True)
    read = acme("GET", f"{at}/{good}").json()
    assert (read["version"], read["n"], read["arms"][0]["n"]) == (good, 2, 2)
    rolled = acme("POST", f"{at}/{good}/rollback")
    assert (rolled.status_code, rolled.json()["is_applied"]) == (200, True)
    status = acme("GET", "/experiments/greeting/status").json()["status"]
    assert (status["arms"][0]["n"], status["snapshot"]) == (2, rolled.json()["offset"])
    for unknown in ("0", "-1", "latest", "9" * 5000, "²"):
        assert code(acme("GET", f"{at}/{unknown}")) == (404, "not_found")
        assert code(acme("POST", f"{at}/{unknown}/rollback")) == (404, "not_found")


def test_a_paused_experiment_applies_a_rollback_when_it_is_resumed(acme: Caller, loop: Loop):
    acme("POST", "/experiments", GREETING)
    acme("POST", "/experiments/greeting/start")
    loop.decide("formal", 1, 1)
    good = loop.learner.take_snapshot("acme", "greeting").version
    loop.decide("formal", 0, 0, 0)
    acme("POST", "/experiments/greeting/pause")
    rolled = acme("POST", f"/experiments/greeting/snapshots/{good}/rollback").json()
    assert rolled["is_applied"] is False
    acme("POST", "/experiments/greeting/resume")
    assert loop.learner.wait_until(rolled["offset"], 5.0)
    status = acme("GET", "/experiments/greeting/status").json()["status"]
    assert status["arms"][0]["n"] == 2


def test_every_operation_is_documented(client: Client):
    document = client.app.openapi_schema.to_schema()
    operations = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    assert len(operations) == 31
    for path, method, operation in operations:
        told = (path, method)
        assert operation["summary"], told
        assert operation["description"], told
        problems = {s: r for s, r in operation["responses"].items() if s >= "400"}
        assert {"401", "403"} <= set(problems), told
        for response in problems.values():
            assert "application/problem+json" in response["content"], told
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        assert not names & {"catalog", "principal", "learner", "signing_ring", "tenant_"}, told
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["schema"]["examples"], (
                told
            )
