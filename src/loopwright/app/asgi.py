"""The few ASGI moves the hot path needs, by hand: read a body within a limit, send a reply, render an error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from loopwright.core.errors import BodyTooLarge, LoopError, QuotaExceeded, WrongMediaType
from loopwright.core.problem import document_of

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"

_encode: Final = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A response: status, body, media type and any further headers."""

    # `gc=False` above: it holds no cycle, so the collector need not walk one per request.
    status: int
    body: bytes
    media_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Behind:
    """An application that is built on a thread of its own, while the front already serves.

    The web framework takes longer to import and set up than all the rest of a start. A request for it waits until it
    is built.
    """

    def __init__(self, build: Callable[[], App]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._app: App | None = None

    def begin(self) -> None:
        """Begin to build."""
        threading.Thread(target=self.app, name="loopwright-control-plane", daemon=True).start()

    def app(self) -> App:
        """Return the application once it is built."""
        with self._lock:
            # Built under the lock: a request that comes meanwhile waits here and does not build a second one.
            if self._app is None:
                self._app = self._build()
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        app = await asyncio.to_thread(self.app) if self._app is None else self._app
        await app(scope, receive, send)


class ClientGone(Exception):
    """The client closed the connection before its body was complete, so no answer can be sent."""


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """Return the whole request body; raises `BodyTooLarge` past `limit` bytes, or `ClientGone`."""
    message = await receive()
    whole = whole_body(message, limit=limit)
    return await read_on(message, receive, limit=limit) if whole is None else whole


def whole_body(message: Message, *, limit: int) -> bytes | None:
    """Return the body if the first message has all of it, as it mostly does; raises like `read_body`."""
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message["body"]
    # Counted again, although the header was checked: a chunked body declares no length.
    if len(body) > limit:
        raise too_large(limit)
    return None if message["more_body"] else body


async def read_on(message: Message, receive: Receive, *, limit: int) -> bytes:
    """Return the whole body that begins with `message`; raises like `read_body`."""
    parts: list[bytes] = [message["body"]]
    size = len(parts[0])
    while message["more_body"]:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message["body"])
        # Counted as it arrives: a chunked body must not fill the memory before it is refused.
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
    return b"".join(parts)


def too_large(limit: int) -> BodyTooLarge:
    """Return the error for a body beyond `limit` bytes."""
    return BodyTooLarge(
        f"the body is larger than {limit} bytes; send smaller batches", expected=limit
    )


def check_media_type(value: bytes | None) -> None:
    """Raise `WrongMediaType` unless `value` says JSON; no declaration at all is taken as JSON."""
    if value is None or value == JSON:
        return
    kind = value.split(b";", 1)[0].strip().lower()
    if kind != JSON:
        raise WrongMediaType(
            f"content-type is {value.decode('latin-1')!r}; send application/json",
            expected="application/json",
        )


async def send_reply(send: Send, reply: Reply) -> None:
    """Send one complete response."""
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (b"content-type", reply.media_type),
                (b"content-length", b"%d" % len(reply.body)),
                *reply.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


def problem(error: LoopError) -> Reply:
    """Return `error` as a problem document (RFC 9457) with its stable `code`."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if (after := error.detail.get("retry_after_s")) is not None:
        # The header has whole seconds (RFC 9110); 0 would make every client return at once.
        headers = ((b"retry-after", b"%d" % max(1, round(after))),)
    if isinstance(error, QuotaExceeded):
        headers += _limits(error.detail)
    # RFC 9110: a 401 must name the scheme, or some clients never ask again with a key.
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers = ((b"www-authenticate", b"Bearer"),)
    return Reply(error.status, _encode(document_of(error)), PROBLEM, headers)


def _limits(detail: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it."""
    name, limit = detail["quota"], detail["limit"]
    window_s = _WINDOWS_S.get(name)
    policy, left = f'"{name}";q={limit}', f'"{name}";r={max(0, limit - detail["used"])}'
    # Without a window and a reset where no clock resets the quota.
    if window_s is not None:
        policy += f";w={window_s}"
        left += f";t={max(1, round(detail['retry_after_s']))}"
    return (b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())


_WINDOWS_S: Final = {"requests_per_minute": 60, "events_per_day": 86_400}
