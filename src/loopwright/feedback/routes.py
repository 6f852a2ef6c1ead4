"""Typed feedback over HTTP: every shape in, the quarantine, and people's consent and erasure.

Handlers ask for what they need by name: `typed_intake`, `append`, `people`, `quarantine`, `raw_copies`,
`count_rows` and `principal` are provided by the application. Bodies are read raw, so that one bad item of a batch is told by its
place and never spoils the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)
from litestar.params import FromPath, QueryParameter, SkipValidation

from loopwright.core.errors import WrongMediaType
from loopwright.core.principal import Principal
from loopwright.web import Asking, problems

from .answers import Answer, Append, TypedAccepted, TypedBatch, answer, finish
from .pipeline import TypedIntake
from .quarantine import Held, Page, Quarantine
from .shapes import Path

MAX_PAGE: Final = 1000

Intaking = NamedDependency[SkipValidation[TypedIntake]]
Appending = NamedDependency[SkipValidation[Append]]
Keeping = NamedDependency[SkipValidation[Quarantine]]


def _documented(summary: str, examples: Mapping[str, Any]) -> type[Operation]:
    """Return an operation whose request body is described here, because the handler reads it raw."""

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            item = Schema(type=OpenAPIType.OBJECT, description=summary)
            batch = Schema(
                type=OpenAPIType.OBJECT,
                description="Up to a thousand items; each is accepted or refused on its own.",
                properties={
                    "items": Schema(type=OpenAPIType.ARRAY, items=item, min_items=1, max_items=1000)
                },
                required=["items"],
            )
            self.request_body = RequestBody(
                required=True,
                content={
                    "application/json": OpenAPIMediaType(
                        schema=Schema(one_of=[item, batch]),
                        examples={name: Example(value=value) for name, value in examples.items()},
                    )
                },
            )

    return Described


_WHY: Final = {
    400: "The body is not JSON, or a request_id is malformed.",
    401: "No valid API key.",
    403: "The key lacks the scope, a request_id is forged or foreign, or the tenant is another one.",
    404: "There is no such person, refused item or raw copy for this tenant; the code says more.",
    410: "The request_id has expired.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The item is not acceptable; `detail` says why and `quarantine_id` where it is kept.",
    503: "The queue is full; come back after Retry-After.",
    507: "The disk is full.",
}


def _why(*statuses: int) -> dict[int, ResponseSpec]:
    return problems(*statuses, why=_WHY)


_SENT: Final[dict[int, ResponseSpec]] = {
    201: ResponseSpec(
        TypedAccepted, generate_examples=False, description="Stored durably before this answer."
    ),
    200: ResponseSpec(
        TypedAccepted | TypedBatch,  # type: ignore[arg-type]
        generate_examples=False,
        description="Known already, so it does not count again; for a batch, a verdict per item.",
    ),
    **_why(410, 413, 415, 422, 503, 507),
}

EVENT: Final = {
    "id": "evt-1",
    "type": "query",
    "source": "user_rating",
    "severity": "info",
    "category": "accuracy",
    "user_id": "u-17",
    "session_id": "s-4",
    "message_id": "m-9",
    "timestamp": "2026-11-20T09:30:00.000Z",
    "data": {"thumbs": "down", "query": "revenue by region", "comment": "wrong year"},
    "tags": ["beta"],
}
NATIVE: Final = {
    "kind": "rating",
    "scale": "stars",
    "value": 4,
    "output_id": "answer-81",
    "user_id": "u-17",
    "message": "good, but slow",
    "labels": {"model_version": "2026-10"},
}
GENERATION: Final = {
    "output_id": "offer-12/3",
    "customer_id": "c-204",
    "generated_copy": "Two coffees for one, today only.",
    "rating": 5,
    "thumbs": "up",
    "prompt_version": "p7",
    "model_version": "m3",
}
CORRECTION: Final = {
    "original": "SELECT * FROM sales",
    "corrected": "SELECT * FROM sales WHERE year = 2026",
    "explanation": "only this year",
    "user_id": "u-17",
    "session_id": "s-4",
    "message_id": "m-9",
}
RATING: Final = {
    "event_id": "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0",
    "user_id": "u-17",
    "session_id": "s-4",
    "timestamp": "2026-11-20T09:30:00.000Z",
    "rating": 4,
    "context": {"feature_id": "search", "device_type": "mobile", "locale": "de-DE"},
    "metadata": {"ip_address": "203.0.113.9", "user_agent": "App/3.1"},
}
SIGNAL: Final = {
    "request_id": "…",
    "session_id": "s-4",
    "event_id": "b1",
    "at_ms": 1_795_000_000_000,
    "type": "signal",
    "kind": "copy",
    "value": 1,
}
INTERACTION: Final = {
    "id": "answer-81",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "session_id": "s-4",
    "user_id": "u-17",
    "task": "support",
    "prompt_version": "p7",
    "model_id": "large",
    "model_version": "2026-10",
    "input_tokens": 812,
    "output_tokens": 96,
    "server_latency_ms": 840,
    "started_at": "2026-11-20T09:29:58.000Z",
    "feedback": [{"type": "thumbs", "value": "up"}],
    "outcomes": [{"name": "resolved", "value": 1}],
}
STEP: Final = {
    "id": "step-1",
    "session_id": "s-4",
    "kind": "sql_generation",
    "taken_at": "2026-11-20T09:29:58.000Z",
    "data": {"tables": ["sales"]},
    "confidence": 0.8,
    "outcome": "success",
    "user_id": "u-17",
}


async def _take(
    request: Request[Any, Any, Any],
    path: Path,
    *,
    principal: Principal,
    intake: TypedIntake,
    append: Append,
) -> Response[Any]:
    principal.require("feedback")
    declared = request.headers.get("content-type")
    if declared is not None and declared.split(";")[0].strip().lower() != "application/json":
        raise WrongMediaType(
            f"content-type is {declared!r}; send application/json", expected="application/json"
        )
    body = await request.body()
    return _response(
        await answer(intake, append, tenant_id=principal.tenant_id, path=path, body=body)
    )


def _response(answered: Answer) -> Response[Any]:
    return Response(answered.content, status_code=answered.status)


class TypedFeedbackController(Controller):
    """Feedback of every kind."""

    path = "/api/v1"
    tags: Sequence[str] = ("feedback",)

    @post(
        "/feedback",
        summary="Send feedback of any kind",
        responses=_SENT,
        operation_class=_documented(
            "Native feedback (`kind`), an event (`type`), a correction, or feedback about a generation.",
            {"native": NATIVE, "event": EVENT, "generation": GENERATION},
        ),
    )
    async def feedback(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store one fact, or a batch as `{"items": […]}`. The shape is told by its members."""
        return await _take(
            request, "feedback", principal=principal, intake=typed_intake, append=append
        )

    @post(
        "/feedback/correction",
        summary="Send a correction",
        responses=_SENT,
        operation_class=_documented(
            "What it said, what it should have said, and why.", {"correction": CORRECTION}
        ),
    )
    async def correction(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store what a person made of an output, or a batch as `{"items": […]}`."""
        return await _take(
            request, "correction", principal=principal, intake=typed_intake, append=append
        )

    @post(
        "/feedback/signals",
        summary="Send what the browser snippet saw",
        responses=_SENT,
        operation_class=_documented("One action of a person.", {"copy": SIGNAL}),
    )
    async def signals(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store implicit signals and clicks on thumbs or stars, as the snippet sends them."""
        return await _take(
            request, "signals", principal=principal, intake=typed_intake, append=append
        )

    @post(
        "/ratings",
        summary="Send a rating of a live loop",
        responses=_SENT,
        operation_class=_documented("A rating from 1 to 5.", {"rating": RATING}),
    )
    async def ratings(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store a rating from 1 to 5 with its context, or a batch as `{"items": […]}`."""
        return await _take(
            request, "rating", principal=principal, intake=typed_intake, append=append
        )

    @post(
        "/interactions",
        summary="Send an AI call",
        responses=_SENT,
        operation_class=_documented(
            "One call with what is known of its feedback and outcomes.",
            {"interaction": INTERACTION},
        ),
    )
    async def interactions(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store one record per AI call: the versions that made it, and what it cost."""
        return await _take(
            request, "interaction", principal=principal, intake=typed_intake, append=append
        )

    @post(
        "/steps",
        summary="Send a step of an agent",
        responses=_SENT,
        operation_class=_documented("One decision an agent took.", {"step": STEP}),
    )
    async def steps(
        self,
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        """Store what an agent decided by itself. Send the same `id` again with the outcome."""
        return await _take(request, "step", principal=principal, intake=typed_intake, append=append)


class QuarantineController(Controller):
    """Items that were refused."""

    path = "/api/v1/quarantine"
    tags: Sequence[str] = ("quarantine",)

    @get(summary="List refused items", responses=_why(), sync_to_thread=True)
    def list(
        self,
        principal: Asking,
        quarantine: Keeping,
        limit: Annotated[
            int, QueryParameter(ge=1, le=MAX_PAGE, description="Most items to return.")
        ] = 100,
        cursor: Annotated[
            str, QueryParameter(description="`next_cursor` of the page before.")
        ] = "",
    ) -> Page:
        """Return what intake refused and why, oldest first, without bodies; and how many were dropped."""
        principal.require("manage")
        return quarantine.list(principal.tenant_id, after=cursor, limit=limit)

    @get(
        "/{item_id:str}",
        summary="Read a refused item",
        responses=_why(404),
        sync_to_thread=True,
    )
    def read(self, item_id: FromPath[str], principal: Asking, quarantine: Keeping) -> Held:
        """Return one item with its body; texts are redacted, people and addresses are pseudonyms."""
        principal.require("manage")
        return quarantine.read(principal.tenant_id, item_id)

    @post(
        "/{item_id:str}/replay",
        summary="Send a refused item again",
        responses={
            201: ResponseSpec(
                TypedAccepted, generate_examples=False, description="Accepted this time."
            ),
            200: ResponseSpec(TypedAccepted, generate_examples=False, description="Known already."),
            **_why(404, 410, 422, 503, 507),
        },
    )
    async def replay(
        self,
        item_id: FromPath[str],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
        quarantine: Keeping,
    ) -> Response[Any]:
        """Run an item through intake once more; it leaves the quarantine once it is stored."""
        principal.require("manage")
        prepared = await asyncio.to_thread(typed_intake.replay, principal.tenant_id, item_id)
        answered = await finish(typed_intake, append, prepared=prepared)
        quarantine.discard(principal.tenant_id, item_id)
        return _response(answered)

    @delete(
        "/{item_id:str}",
        summary="Discard a refused item",
        responses=_why(404),
        status_code=204,
        sync_to_thread=True,
    )
    def discard(self, item_id: FromPath[str], principal: Asking, quarantine: Keeping) -> None:
        """Delete an item for good."""
        principal.require("manage")
        quarantine.discard(principal.tenant_id, item_id)


CONTROLLERS: Final = (
    TypedFeedbackController,
    QuarantineController,
)
"""What the application registers."""
