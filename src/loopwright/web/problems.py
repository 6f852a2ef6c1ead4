"""How the API document describes error answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from litestar.openapi import ResponseSpec

from loopwright.core.problem import Problem


def problems(*statuses: int, why: Mapping[int, str] | None = None) -> dict[int, ResponseSpec]:
    """Return the documentation of error answers with these statuses, and of those every handler can give."""
    sentences = {**_WHY, **(why or {})}
    return {
        status: ResponseSpec(
            Problem,
            description=sentences[status],
            media_type="application/problem+json",
            # Generated examples are random: the document would differ from start to start.
            generate_examples=False,
        )
        # Every handler parses a request, asks for a key and counts the request, so these need not be declared.
        for status in sorted({400, 401, 403, 429, *statuses})
    }


_WHY: Final[dict[int, str]] = {
    400: "The body, a path or a query parameter cannot be understood.",
    401: "No valid API key.",
    403: "The key lacks the scope.",
    404: "Not there, or not this tenant's.",
    409: "It contradicts what is there, or another request changed it first.",
    410: "The request_id has expired.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The content is not acceptable; `detail` says what to change.",
    429: "A quota of the tenant is used up; come back after Retry-After.",
    503: "The queue is full; come back after Retry-After.",
    507: "The disk is full.",
}
