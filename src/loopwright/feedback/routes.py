"""Typed feedback over HTTP: every wire shape in, and the quarantine.

The framework hands dependencies to handlers by parameter name: `typed_intake`, `append`, `quarantine` and `principal`
come from the application. Bodies are read raw, so that each item of a batch is refused on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
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
from loopwright.core.events import Fact
from loopwright.core.ports import Committed
from loopwright.web import Asking, needs, problems

from . import examples
from .intake import TypedIntake
from .prepared import Prepared
from .quarantine import Quarantine, RefusedItem, RefusedPage
from .results import NOTHING_STORED, Results, TypedAccepted, TypedBatch

MAX_PAGE: Final = 1000

INLINE_BYTES: Final = 65_536
"""Largest body that is prepared on the event loop; a larger one would delay selects, so it gets a thread."""

Append = Callable[[Sequence[Fact], Sequence[bytes | None]], Awaitable[Committed]]
"""Appends facts to the log and returns once they are durable."""

Intaking = NamedDependency[SkipValidation[TypedIntake]]
Appending = NamedDependency[SkipValidation[Append]]
Keeping = NamedDependency[SkipValidation[Quarantine]]


async def take(
    intake: TypedIntake, append: Append, *, tenant_id: str, path: str, body: bytes
) -> Results:
    """Take a body in, wait until its facts are durable, and return the answer.

    Raises the `LoopError` of a single item that is refused, with its id in the quarantine.
    """
    if len(body) > INLINE_BYTES:
        prepared = await asyncio.to_thread(intake.prepare, tenant_id, path, body)
    else:
        understood = intake.understand(tenant_id, path, body)
        # A thread costs more than a small body does, so only what waits gets one.
        if intake.waits(understood):
            prepared = await asyncio.to_thread(intake.finish, understood)
        else:
            prepared = intake.finish(understood)
    return await store(intake, append, prepared)


async def store(intake: TypedIntake, append: Append, prepared: Prepared) -> Results:
    """Append what was prepared and return the answer; raises like `take`."""
    committed = NOTHING_STORED
    if prepared.facts:
        committed = await append(prepared.facts, prepared.keys)
    # Raw copies wait for the disk.
    if prepared.originals:
        return await asyncio.to_thread(intake.settle, prepared, committed)
    return intake.settle(prepared, committed)


def _described_body(item: str, examples: Mapping[str, Any]) -> type[Operation]:
    """Return an operation with a described request body, because the handler reads it raw."""

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            one = Schema(type=OpenAPIType.OBJECT, description=item)
            batch = Schema(
                type=OpenAPIType.OBJECT,
                description="Up to a thousand items; each is accepted or refused on its own.",
                properties={
                    "items": Schema(type=OpenAPIType.ARRAY, items=one, min_items=1, max_items=1000)
                },
                required=["items"],
            )
            self.request_body = RequestBody(
                required=True,
                content={
                    "application/json": OpenAPIMediaType(
                        schema=Schema(one_of=[one, batch]),
                        examples={name: Example(value=value) for name, value in examples.items()},
                    )
                },
            )

    return Described


_WHY: Final = {
    400: "The body is not JSON, or a request_id is malformed.",
    403: "The key lacks the scope, a request_id is forged or foreign, or the tenant is another one.",
    404: "There is no such refused item for this tenant.",
    409: "Other content is stored under the event id (`event_conflict`).",
    422: "The item is not acceptable; `detail` says why and `quarantine_id` where it is kept.",
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
        description="Stored before, so it does not count again; for a batch, a verdict per item.",
    ),
    **_why(409, 410, 413, 415, 422, 503, 507),
}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that takes items of one or several wire shapes."""

    url: str
    path: str
    """The name of the path that the registry of wire shapes knows."""
    summary: str
    description: str
    item: str
    """What one item is, for the API document."""
    examples: Mapping[str, Any]


ENDPOINTS: Final = (
    Endpoint(
        url="/api/v1/feedback",
        path="feedback",
        summary="Send feedback of any kind",
        description='Store one fact, or a batch as `{"items": […]}`. Its members tell the shape.',
        item="Native feedback (`kind`), an event (`type`), a correction, or feedback about a generation.",
        examples={
            "native": examples.NATIVE,
            "event": examples.EVENT,
            "generation": examples.GENERATION,
        },
    ),
    Endpoint(
        url="/api/v1/feedback/correction",
        path="correction",
        summary="Send a correction",
        description='Store an output and what a person changed it to, or a batch as `{"items": […]}`.',
        item="The text as it was, as it should have been, and why.",
        examples={"correction": examples.CORRECTION},
    ),
    Endpoint(
        url="/api/v1/feedback/signals",
        path="signals",
        summary="Send what the browser snippet saw",
        description="Store implicit signals and clicks on thumbs or stars, as the snippet sends them.",
        item="One action of a person.",
        examples={"copy": examples.SIGNAL},
    ),
    Endpoint(
        url="/api/v1/ratings",
        path="rating",
        summary="Send a rating of a live loop",
        description='Store a rating from 1 to 5 with its context, or a batch as `{"items": […]}`.',
        item="A rating from 1 to 5.",
        examples={"rating": examples.RATING},
    ),
    Endpoint(
        url="/api/v1/interactions",
        path="interaction",
        summary="Send an AI call",
        description="Store one record per AI call: the versions that made it, and what it cost.",
        item="One call with what is known of its feedback and outcomes.",
        examples={"interaction": examples.INTERACTION},
    ),
    Endpoint(
        url="/api/v1/steps",
        path="step",
        summary="Send a step of an agent",
        description="Store what an agent decided by itself. Send the same `id` again with the outcome.",
        item="One decision an agent took.",
        examples={"step": examples.STEP, "agent decision": examples.AGENT_DECISION},
    ),
    Endpoint(
        url="/api/v1/feedback/decisions",
        path="step",
        summary="Send an agent's decision",
        description="Store what an agent decided by itself, as clients of earlier systems send it.",
        item="One decision an agent took.",
        examples={"agent decision": examples.AGENT_DECISION},
    ),
)


def _handler(endpoint: Endpoint) -> HTTPRouteHandler:
    async def handler(
        request: Request[Any, Any, Any],
        principal: Asking,
        typed_intake: Intaking,
        append: Appending,
    ) -> Response[Any]:
        declared = request.headers.get("content-type")
        if declared is not None and declared.split(";")[0].strip().lower() != "application/json":
            raise WrongMediaType(
                f"content-type is {declared!r}; send application/json", expected="application/json"
            )
        body = await request.body()
        results = await take(
            typed_intake, append, tenant_id=principal.tenant_id, path=endpoint.path, body=body
        )
        return _response(results)

    # The framework makes the operation's id in the API document from the handler's name.
    handler.__name__ = endpoint.url.rsplit("/", 1)[1]
    return post(
        endpoint.url,
        tags=["feedback"],
        summary=endpoint.summary,
        description=endpoint.description,
        responses=_SENT,
        **needs("feedback"),
        operation_class=_described_body(endpoint.item, endpoint.examples),
    )(handler)


def _response(results: Results) -> Response[Any]:
    return Response(results.content, status_code=results.status)


class QuarantineController(Controller):
    """Items that were refused."""

    path = "/api/v1/quarantine"
    tags: Sequence[str] = ("quarantine",)

    @get(summary="List refused items", responses=_why(), sync_to_thread=True, **needs("review"))
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
    ) -> RefusedPage:
        """Return refused items and the reasons, oldest first, without bodies; and how many were dropped."""
        return quarantine.list(principal.tenant_id, after=cursor, limit=limit)

    @get(
        "/{item_id:str}",
        summary="Read a refused item",
        responses=_why(404),
        sync_to_thread=True,
        **needs("review"),
    )
    def read(self, item_id: FromPath[str], principal: Asking, quarantine: Keeping) -> RefusedItem:
        """Return one item with its body; texts are redacted, people and addresses are pseudonyms."""
        return quarantine.read(principal.tenant_id, item_id)

    @post(
        "/{item_id:str}/replay",
        summary="Send a refused item again",
        responses={
            201: ResponseSpec(
                TypedAccepted, generate_examples=False, description="Accepted this time."
            ),
            200: ResponseSpec(TypedAccepted, generate_examples=False, description="Known already."),
            **_why(404, 409, 410, 422, 503, 507),
        },
        **needs("review"),
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
        prepared = await asyncio.to_thread(typed_intake.replay, principal.tenant_id, item_id)
        results = await store(typed_intake, append, prepared)
        quarantine.discard(principal.tenant_id, item_id)
        return _response(results)

    @delete(
        "/{item_id:str}",
        summary="Discard a refused item",
        responses=_why(404),
        status_code=204,
        sync_to_thread=True,
        **needs("review"),
    )
    def discard(self, item_id: FromPath[str], principal: Asking, quarantine: Keeping) -> None:
        """Delete an item for good."""
        quarantine.discard(principal.tenant_id, item_id)


CONTROLLERS: Final[tuple[HTTPRouteHandler | type[Controller], ...]] = (
    *(_handler(endpoint) for endpoint in ENDPOINTS),
    QuarantineController,
)
"""The handlers that the application registers."""
