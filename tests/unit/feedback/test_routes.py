"""Bodies on their way through the handlers; whole requests of every shape are in tests/flow."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.unit.feedback.world import THUMB, World
from tests.unit.web.serving import serving

from loopwright.core.errors import DiskFull
from loopwright.core.events import Fact
from loopwright.core.ports import Committed
from loopwright.feedback.results import TypedAccepted
from loopwright.feedback.routes import CONTROLLERS, INLINE_BYTES, take

Client = TestClient[Litestar]


class Log:
    """Commits what it is given, or fails."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.is_full = False

    async def append(self, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        if self.is_full:
            raise DiskFull("no space left")
        first = len(self.facts) + 1
        self.facts += facts
        return Committed(first, [False] * len(facts))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def client(world: World, log: Log) -> Iterator[Client]:
    parts = {
        "typed_intake": world.intake,
        "append": log.append,
        "quarantine": world.quarantine,
    }
    with serving(CONTROLLERS, **parts) as client:
        client.headers["x-scopes"] = "feedback manage"
        yield client


def test_a_body_is_stored_before_the_answer_and_a_full_disk_answers_nothing(
    world: World, log: Log
) -> None:
    body = json.dumps(THUMB).encode()
    results = asyncio.run(
        take(world.intake, log.append, tenant_id="acme", path="feedback", body=body)
    )
    assert isinstance(results.content, TypedAccepted)
    assert (results.status, results.content.offset, len(log.facts)) == (201, 1, 1)
    log.is_full = True
    with pytest.raises(DiskFull):
        asyncio.run(take(world.intake, log.append, tenant_id="acme", path="feedback", body=body))


def test_a_large_body_leaves_the_event_loop_free(world: World, log: Log) -> None:
    threads: list[str] = []

    def now_on() -> None:
        threads.append(threading.current_thread().name)

    class Watched:
        """The intake, with a note of the thread that prepares a body."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.intake, name)

        def prepare(self, *given: Any) -> Any:
            now_on()
            return world.intake.prepare(*given)

        def understand(self, *given: Any) -> Any:
            now_on()
            return world.intake.understand(*given)

    for padding in (0, INLINE_BYTES):
        body = json.dumps({**THUMB, "message": "x"}).encode() + b" " * padding
        asyncio.run(
            take(Watched(), log.append, tenant_id="acme", path="feedback", body=body)  # type: ignore[arg-type]  # wraps one
        )
    here = threading.current_thread().name
    assert [name == here for name in threads] == [True, False]


def test_a_media_type_that_is_not_json_is_refused_and_none_is_taken(client: Client) -> None:
    body = json.dumps(THUMB)
    for declared, status in (
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON", 201),
        ("text/plain", 415),
        ("application/jsonp", 415),
    ):
        answer = client.post("/api/v1/feedback", content=body, headers={"content-type": declared})
        assert answer.status_code == status, (declared, answer.text)
    assert client.post("/api/v1/feedback", content=body).status_code == 201


def test_feedback_and_the_quarantine_ask_for_different_scopes(client: Client, log: Log) -> None:
    sender, keeper = {"x-scopes": "feedback"}, {"x-scopes": "manage"}
    assert client.post("/api/v1/feedback", json=THUMB, headers=keeper).status_code == 403
    assert log.facts == []
    for method, path in (
        ("GET", ""),
        ("GET", "/q1"),
        ("POST", "/q1/replay"),
        ("DELETE", "/q1"),
    ):
        answer = client.request(method, f"/api/v1/quarantine{path}", headers=sender)
        assert answer.status_code == 403, (method, path)


def test_a_refused_item_waits_in_the_quarantine_until_it_is_discarded(client: Client) -> None:
    refused = client.post("/api/v1/ratings", json={"output_id": "o", "rating": 6})
    assert refused.status_code == 422
    id = refused.json()["quarantine_id"]
    (listed,) = client.get("/api/v1/quarantine").json()["items"]
    assert (listed["id"], listed["path"]) == (id, "rating")
    assert client.post(f"/api/v1/quarantine/{id}/replay").status_code == 422
    assert client.get(f"/api/v1/quarantine/{id}").status_code == 200
    assert client.delete(f"/api/v1/quarantine/{id}").status_code == 204
    assert client.delete(f"/api/v1/quarantine/{id}").status_code == 404
    assert client.get("/api/v1/quarantine?limit=0").status_code == 400


def test_a_batch_answers_each_item_on_its_own(client: Client, log: Log) -> None:
    answer = client.post("/api/v1/feedback", json={"items": [THUMB, {"x": 1}]})
    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == [201, 422]
    assert len(log.facts) == 1
