"""A limit in front of any ASGI application, over HTTP and WebSocket.

from loopwright.limiting import AdaptiveLimitMiddleware

app = AdaptiveLimitMiddleware(app, loop.limits.acquire, name="chat")
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from loopwright.core.errors import LoopError
from loopwright.core.limit import Admission

_logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION: Final = 1008
"""Close code of a WebSocket that was refused (RFC 6455, section 7.4.1)."""


class Acquire(Protocol):
    """What a limit is asked through: `loop.limits.acquire`, `client.limits.acquire`, or a `Limiter`'s."""

    def __call__(self, name: str, /, *, key: str, cost: float) -> Admission:
        """Take tokens, or say how long to wait."""
        ...


def client_address(scope: Scope) -> str:
    """Return the address that the request came from; all that come without one share a bucket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class AdaptiveLimitMiddleware:
    """Asks a limit before each request; a refused one is answered with 429 and never reaches the application.

    `key` names whose bucket pays, `cost` how much; both see the ASGI scope. Answers carry the RateLimit fields
    (draft-ietf-httpapi-ratelimit-headers), and with `legacy_headers` the older `X-RateLimit-*` too. When the limit
    itself cannot be asked the request goes on, and `failures` counts it: a limiter must not be what takes a service down.
    """

    def __init__(
        self,
        app: App,
        acquire: Acquire,
        *,
        name: str,
        key: Callable[[Scope], str] = client_address,
        cost: Callable[[Scope], float] = lambda scope: 1.0,
        legacy_headers: bool = False,
    ) -> None:
        self._app = app
        self._acquire = acquire
        self._name = name
        self._key = key
        self._cost = cost
        self._has_legacy = legacy_headers
        self.failures = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, if the limit lets it through."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            told = self._acquire(self._name, key=self._key(scope), cost=self._cost(scope))
        except LoopError as error:
            self.failures += 1
            _logger.warning(
                "a limit could not be asked", extra={"limit": self._name, "reason": error.message}
            )
            await self._app(scope, receive, send)
            return
        if not told.allowed:
            await self._refuse(scope, receive, send, told)
        elif scope["type"] == "websocket" or told.mode == "off":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, self._adding(send, told))

    def _adding(self, send: Send, told: Admission) -> Send:
        fields = self._fields(told)

        async def with_fields(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *fields]
            await send(message)

        return with_fields

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, told: Admission) -> None:
        if scope["type"] == "websocket":
            # Before the handshake is answered a close is a 403 to the client, whatever the code.
            await receive()
            await send(
                {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "rate limit"}
            )
            return
        wait = told.retry_after_s
        said = (
            "its cost is above the burst, so it never fits: split it"
            if wait is None
            else f"try again in {max(1, math.ceil(wait))} s"
        )
        body = json.dumps(
            {
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Too Many Requests",
                "status": 429,
                "code": "rate_limited",
                "detail": f"the limit {self._name!r} is reached; {said}",
                "violated-policies": [self._name],
            }
        ).encode()
        fields = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            *self._fields(told),
        ]
        if wait is not None:
            fields.append((b"retry-after", str(max(1, math.ceil(wait))).encode()))
        await send({"type": "http.response.start", "status": 429, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _fields(self, told: Admission) -> list[tuple[bytes, bytes]]:
        remaining, reset = math.floor(told.remaining), math.ceil(told.reset_after_s)
        # What is left and what is missing make the burst, so it need not be told apart.
        burst = math.floor(told.remaining + told.reset_after_s * told.rate + 1e-6)
        window = max(1, math.ceil(burst / told.rate))
        fields = [
            (b"ratelimit-policy", f'"{self._name}";q={burst};w={window}'.encode()),
            (b"ratelimit", f'"{self._name}";r={remaining};t={reset}'.encode()),
        ]
        if self._has_legacy:
            fields += [
                (b"x-ratelimit-limit", str(burst).encode()),
                (b"x-ratelimit-remaining", str(remaining).encode()),
                (b"x-ratelimit-reset", str(reset).encode()),
            ]
        return fields
