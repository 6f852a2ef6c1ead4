"""The hot endpoints a second time, as routes of the framework: they document, and answer what the front hands on.

A twin's signature says what goes in and out, for the description of the API. Its body is never run: the hook before
it answers with the hot endpoint's own code, from the raw body, so that both doors answer to the byte alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, cast

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import Body

from loopwright.core.errors import LoopError
from loopwright.core.problem import Problem
from loopwright.feedback import BatchRequest, FeedbackRequest
from loopwright.serving import Selection, SelectRequest
from loopwright.web import needs

from .asgi import PROBLEM, Receive, Reply, problem, read_body
from .hot import FEEDBACK, FEEDBACK_BATCH, SELECT, Endpoint, Front, RewardAccepted, RewardBatch
from .known import KnownParameters


def twin(
    path: str, endpoint: Endpoint, *, front: Front, known: KnownParameters
) -> HTTPRouteHandler:
    """Return the documented route of a hot endpoint; the same code answers both."""
    shape = _SHAPES[path]

    async def handler(data: Any) -> Response[bytes]:
        # Only its signature is used: Litestar derives the description of the API from it.
        raise AssertionError("the hook before this handler answers")

    # Written after the fact, because the body's type is known only here.
    handler.__annotations__["data"] = Annotated[shape.request, Body()]
    return post(
        path,
        tags=["loop"],
        summary=shape.summary,
        status_code=shape.status,
        # Before Litestar decodes the body: its errors would differ from those of the front.
        **needs(endpoint.scope, asks_itself=True),
        before_request=_answering(endpoint, front=front, known=known),
        responses={
            shape.status: ResponseSpec(
                shape.response, description=shape.description, generate_examples=False
            ),
            **shape.also,
            **PROBLEMS,
        },
    )(handler)


def rendered(reply: Reply) -> Response[bytes]:
    """Return `reply` as the framework's response."""
    return Response(
        reply.body,
        status_code=reply.status,
        media_type=reply.media_type.decode(),
        headers={name.decode(): value.decode() for name, value in reply.headers},
    )


def _answering(
    endpoint: Endpoint, *, front: Front, known: KnownParameters
) -> Callable[[Request[Any, Any, Any]], Awaitable[Response[bytes]]]:
    async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
        # A hook of a route replaces the one of the application, so its check is made here.
        known(request)
        try:
            # `Decoding` has taken the coding off already.
            principal, _ = front.admit(endpoint.scope, request.scope["headers"])
            body = await read_body(cast(Receive, request.receive), limit=front.body_limit)
            reply = await endpoint.answer(principal, body)
        except LoopError as error:
            reply = problem(error)
        return rendered(reply)

    return answer


class _Shape(msgspec.Struct, frozen=True):
    """The documentation of a hot endpoint."""

    summary: str
    request: type
    response: type
    status: int
    description: str
    also: dict[int, ResponseSpec] = {}


PROBLEMS: Final[dict[int, ResponseSpec]] = {
    status: ResponseSpec(
        Problem, description=why, media_type=PROBLEM.decode(), generate_examples=False
    )
    for status, why in {
        400: "The body or the request_id is malformed.",
        401: "No valid API key.",
        403: "The key lacks the scope, or the request_id is forged, foreign or signed by a retired key.",
        404: "No such experiment.",
        409: "The experiment is not running or has no enabled arm; or other content is stored under the event id.",
        410: "The request_id has expired.",
        413: "The body is too large.",
        415: "The body is not declared as JSON.",
        422: "The content is not acceptable.",
        429: "A quota of the tenant is used up; come back after Retry-After.",
        503: "The queue is full; come back after Retry-After.",
        507: "The disk is full.",
    }.items()
}

_SHAPES: Final = {
    SELECT: _Shape(
        "Choose an arm", SelectRequest, Selection, 200, "The arm, and the token for its feedback."
    ),
    FEEDBACK: _Shape(
        "Send what a decision earned",
        FeedbackRequest,
        RewardAccepted,
        201,
        "Stored durably before this answer.",
        {
            200: ResponseSpec(
                RewardAccepted,
                generate_examples=False,
                description="Known already; it does not count again.",
            )
        },
    ),
    FEEDBACK_BATCH: _Shape(
        "Send many rewards at once",
        BatchRequest,
        RewardBatch,
        200,
        "A verdict per item, in order; the accepted ones are durable.",
    ),
}
