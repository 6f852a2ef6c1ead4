from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from loopwright.core.errors import NotFound
from loopwright.core.limit import Admission
from loopwright.limiting import Limiter, MemoryBuckets, Rate
from loopwright.limiting.middleware import AdaptiveLimitMiddleware, Receive, Scope, Send

from .conftest import Nanoseconds


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def limiter(clock: Nanoseconds) -> Limiter:
    made = Limiter(MemoryBuckets(clock))
    made.put("chat", Rate(1, 2, 1))
    return made


def get(app: Any, *paths: str) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask())


def test_requests_beyond_the_bucket_are_refused_with_what_to_do(limiter: Limiter) -> None:
    app = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat")
    first, _, third = get(app, "/", "/", "/")
    assert (first.status_code, first.text, first.headers["x-own"]) == (200, "hello", "1")
    assert first.headers["ratelimit"] == '"chat";r=1;t=1'
    assert first.headers["ratelimit-policy"] == '"chat";q=2;w=2'
    assert (third.status_code, third.headers["retry-after"]) == (429, "1")
    assert third.headers["content-type"] == "application/problem+json"
    assert third.json()["detail"] == "the limit 'chat' is reached; try again in 1 s"
    assert third.json()["violated-policies"] == ["chat"]


def test_after_the_wait_that_was_told_it_goes_on(limiter: Limiter, clock: Nanoseconds) -> None:
    app = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat")
    *_, refused = get(app, "/", "/", "/")
    clock.now += int(refused.headers["retry-after"]) * 1_000_000_000
    assert get(app, "/")[0].status_code == 200


def test_keys_and_costs_come_from_the_request(limiter: Limiter) -> None:
    app = AdaptiveLimitMiddleware(
        hello,
        limiter.acquire,
        name="chat",
        key=lambda scope: scope["path"],
        cost=lambda scope: 3.0 if scope["path"] == "/dear" else 2.0,
    )
    one, two, again, dear = get(app, "/a", "/b", "/a", "/dear")
    assert [r.status_code for r in (one, two, again, dear)] == [200, 200, 429, 429]
    assert "never fits" in dear.json()["detail"]
    assert "retry-after" not in dear.headers


def test_older_headers_come_on_request(limiter: Limiter) -> None:
    app = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat", legacy_headers=True)
    (answer,) = get(app, "/")
    assert answer.headers["x-ratelimit-limit"] == "2"
    assert answer.headers["x-ratelimit-remaining"] == "1"


def test_shadow_and_off_refuse_nobody(limiter: Limiter) -> None:
    limiter.put("chat", Rate(1, 1, 2), "shadow")
    app = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat")
    assert [r.status_code for r in get(app, "/", "/", "/")] == [200, 200, 200]
    limiter.put("chat", Rate(1, 1, 3), "off")
    (answer,) = get(app, "/")
    assert "ratelimit" not in answer.headers


def test_a_limit_that_cannot_be_asked_lets_the_request_through_and_is_counted() -> None:
    def away(name: str, /, *, key: str, cost: float) -> Admission:
        raise NotFound(f"there is no limit {name!r}")

    app = AdaptiveLimitMiddleware(hello, away, name="chat")
    assert get(app, "/")[0].status_code == 200
    assert app.failures == 1


def test_a_websocket_is_refused_before_it_is_accepted(limiter: Limiter) -> None:
    app = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat")

    async def connect() -> list[str]:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        for _ in range(3):
            await app({"type": "websocket", "client": ("1.2.3.4", 5)}, receive, send)
        return [message["type"] for message in sent]

    assert asyncio.run(connect()) == ["websocket.accept", "websocket.accept", "websocket.close"]


def test_other_messages_pass_unasked(limiter: Limiter) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    limited = AdaptiveLimitMiddleware(app, limiter.acquire, name="nope")
    asyncio.run(limited({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
    assert limited.failures == 0
