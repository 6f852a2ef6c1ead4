"""Bodies within a limit, replies, and an application that is built while others are served."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from loopwright.app.asgi import (
    Behind,
    ClientGone,
    Message,
    Reply,
    check_media_type,
    problem,
    read_body,
    send_reply,
)
from loopwright.catalog.quotas import exceeded
from loopwright.core.errors import BodyTooLarge, Overloaded, Unauthenticated, WrongMediaType


def read(*messages: Message, limit: int = 10) -> bytes:
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    return asyncio.run(read_body(receive, limit=limit))


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_the_sum_of_its_parts() -> None:
    assert read(part(b"abc")) == b"abc"
    assert read(part(b"ab", True), part(b"", True), part(b"cd")) == b"abcd"


def test_a_body_beyond_the_limit_is_refused_at_the_part_that_goes_beyond() -> None:
    with pytest.raises(BodyTooLarge):
        read(part(b"x" * 11))
    with pytest.raises(BodyTooLarge):
        read(part(b"x" * 6, True), part(b"x" * 5, True), part(b"never read"))


@pytest.mark.parametrize("before", [(), (part(b"half", True),)])
def test_a_client_that_leaves_gets_no_answer(before: tuple[Message, ...]) -> None:
    with pytest.raises(ClientGone):
        read(*before, {"type": "http.disconnect"})


@pytest.mark.parametrize("value", [None, b"application/json", b"Application/JSON; charset=utf-8"])
def test_json_is_taken_and_so_is_no_declaration(value: bytes | None) -> None:
    check_media_type(value)


@pytest.mark.parametrize("value", [b"text/plain", b"application/jsonl", b""])
def test_another_media_type_is_refused(value: bytes) -> None:
    with pytest.raises(WrongMediaType, match="send application/json"):
        check_media_type(value)


def test_a_reply_has_its_length() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(send_reply(send, Reply(201, b"abc", headers=((b"x", b"y"),))))
    start, body = sent
    assert start["status"] == 201
    assert dict(start["headers"])[b"content-length"] == b"3"
    assert dict(start["headers"])[b"x"] == b"y"
    assert (body["body"], body["more_body"]) == (b"abc", False)


def test_a_problem_says_when_to_return_in_whole_seconds_and_never_at_once() -> None:
    error = Overloaded("the queue is full")
    error.detail["retry_after_s"] = 0.2
    reply = problem(error)
    assert (b"retry-after", b"1") in reply.headers
    assert msgspec.json.decode(reply.body)["code"] == error.code


def test_a_request_without_a_key_is_told_how_to_authenticate() -> None:
    assert problem(Unauthenticated("no key")).headers == ((b"www-authenticate", b"Bearer"),)


def test_an_application_is_built_once_however_many_ask() -> None:
    built: list[int] = []

    async def served(scope: Any, receive: Any, send: Any) -> None:
        scope["served"] = True

    def build() -> Any:
        built.append(threading.get_ident())
        return served

    behind = Behind(build)

    async def unused(*_: Any) -> Any:
        raise AssertionError("the application that was built answers by itself")

    async def ask() -> list[dict[str, Any]]:
        scopes: list[dict[str, Any]] = [{} for _ in range(5)]
        await asyncio.gather(*(behind(scope, unused, unused) for scope in scopes))
        return scopes

    behind.begin()
    assert asyncio.run(ask()) == [{"served": True}] * 5
    assert len(built) == 1
    assert built != [threading.get_ident()]


def test_a_quota_that_is_used_up_says_policy_rest_and_when_to_come_back() -> None:
    error = exceeded("events_per_day", limit=5, used=3, now_ms=1_000, resets_at_ms=61_000)
    headers = dict(problem(error).headers)
    assert headers == {
        b"retry-after": b"60",
        b"ratelimit-policy": b'"events_per_day";q=5;w=86400',
        b"ratelimit": b'"events_per_day";r=2;t=60',
    }


def test_a_quota_that_no_clock_resets_has_no_window() -> None:
    headers = dict(problem(exceeded("experiments", limit=1, used=2, now_ms=0)).headers)
    assert headers[b"ratelimit-policy"] == b'"experiments";q=1'
    assert headers[b"ratelimit"] == b'"experiments";r=0'
    assert headers[b"retry-after"] == b"3600"
