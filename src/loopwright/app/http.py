"""What stands behind the front: Litestar with the control plane and the documentation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme, Tag
from litestar.params import Body

import loopwright
from loopwright.catalog import Catalog
from loopwright.catalog import routes as catalog_routes
from loopwright.core.errors import BodyMalformed, LoopError
from loopwright.core.principal import Principal
from loopwright.core.problem import Problem, document
from loopwright.feedback import BatchRequest, FeedbackRequest
from loopwright.feedback import routes as feedback_routes
from loopwright.insights.routes import InsightsController
from loopwright.learning.routes import LearningController
from loopwright.people import routes as people_routes
from loopwright.serving import Selection, SelectRequest
from loopwright.signals.routes import SurrogateController
from loopwright.trust.routes import ClearanceController

from .asgi import PROBLEM, App, Receive, Reply, problem, read_body
from .health import Health
from .hot import (
    FEEDBACK,
    FEEDBACK_BATCH,
    SELECT,
    Endpoint,
    Front,
    RewardAccepted,
    RewardBatch,
    authenticated,
)
from .known import KnownParameters
from .metrics import Metrics
from .pages import DOCS, RENDERERS, static
from .unprefixed import KEYLESS

logger = logging.getLogger(__name__)

CONTROLLERS: Final = (
    *catalog_routes.CONTROLLERS,
    LearningController,
    *feedback_routes.CONTROLLERS,
    *people_routes.CONTROLLERS,
    InsightsController,
    ClearanceController,
    SurrogateController,
)

_TAGS: Final = {
    "loop": "Select an arm, send its reward.",
    "feedback": "Feedback of every kind, calls and steps; raw copies; surrogates.",
    "insights": "What people read: quality, trust, statistics, sessions, exports.",
    "experiments": "Experiments and their arms.",
    "learning": "What was learned: status, snapshots, rollback.",
    "people": "Consent and erasure.",
    "quarantine": "What was refused, and its replay.",
    "keys": "API keys, and the keys that sign tokens.",
    "tenants": "Tenants.",
    "health": "Probes and metrics.",
}
"""The parts of the API, in the order in which they are shown."""


class Failed(LoopError):
    """Something broke that nobody foresaw; the log of the server has the trace."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


def build_behind(
    front: Front,
    endpoints: dict[str, Endpoint],
    *,
    catalog: Catalog,
    metrics: Metrics,
    dependencies: Mapping[str, Callable[[], Any]],
    slow_dependencies: Mapping[str, Callable[[], Any]],
    body_limit: int,
) -> App:
    """Return the application behind `front`: the control plane, and the documented twins of `endpoints`.

    What `dependencies` return is handed by name to the handlers of the controllers; the slow ones are asked on
    a thread.
    """

    async def principal(request: Request[Any, Any, Any]) -> Principal:
        tenant = request.scope.get(KEYLESS)
        if isinstance(tenant, str):
            return Principal(catalog.tenant(tenant).id, "", frozenset({"feedback", "read"}))
        header = request.headers.get("authorization")
        return authenticated(
            catalog.authenticate, None if header is None else header.encode("latin-1")
        )

    @get("/health/live", tags=["health"], summary="Is the process alive?")
    async def live() -> Health:
        """Answer as long as the process runs."""
        return Health(status="alive")

    @get(
        "/health/ready",
        tags=["health"],
        summary="Can the process serve?",
        responses={
            200: ResponseSpec(Health, generate_examples=False, description="It can."),
            503: ResponseSpec(
                Health, generate_examples=False, description="It cannot; `reason` says why."
            ),
        },
    )
    async def readiness() -> Response[bytes]:
        """Answer 200 when selects and feedback are served, else 503; `failing` names the background work that fails."""
        return _response(front.readiness())

    @get(
        "/metrics",
        tags=["health"],
        summary="Figures for Prometheus",
        media_type="text/plain; version=0.0.4; charset=utf-8",
        sync_to_thread=False,
    )
    def exposition() -> bytes:
        """Return every metric in the Prometheus text format; needs no key and names no secret."""
        return metrics.exposition()

    reference = [_reference(path, endpoint, front=front) for path, endpoint in endpoints.items()]
    known = KnownParameters()
    behind = Litestar(
        [live, readiness, exposition, static, *CONTROLLERS, *reference],
        dependencies={
            "principal": Provide(principal),
            **{name: _given(ask) for name, ask in dependencies.items()},
            **{name: _given(ask, on_thread=True) for name, ask in slow_dependencies.items()},
        },
        exception_handlers={
            LoopError: _loop_error,
            HTTPException: _http_error,
            RecursionError: _too_deep,
            Exception: _unforeseen,
        },
        openapi_config=OpenAPIConfig(
            title="Loopwright",
            version=loopwright.__version__,
            description="Select an arm, send feedback, and the loop learns which arm to serve.",
            path=DOCS,
            render_plugins=RENDERERS,
            components=Components(
                security_schemes={
                    "key": SecurityScheme(
                        type="http", scheme="bearer", description="An API key: lw_…"
                    )
                }
            ),
            security=[{"key": []}],
            tags=[Tag(name, description=sentence) for name, sentence in _TAGS.items()],
            use_handler_docstrings=True,
        ),
        before_request=known,
        request_max_body_size=body_limit,
        logging_config=None,
    )
    _document_bodies(behind.openapi_schema)
    known.learn(behind.openapi_schema)
    return cast(App, behind)


def _given(ask: Callable[[], Any], *, on_thread: bool = False) -> Provide:
    def give() -> Any:
        return ask()

    return Provide(give, sync_to_thread=on_thread)


def _reference(path: str, endpoint: Endpoint, *, front: Front) -> HTTPRouteHandler:
    """Return the documented twin of a hot endpoint; the same code answers both."""
    shape = _SHAPES[path]

    @post(
        path,
        tags=["loop"],
        summary=shape.summary,
        status_code=shape.status,
        responses={
            shape.status: ResponseSpec(
                shape.response, description=shape.description, generate_examples=False
            ),
            **shape.also,
            **PROBLEMS,
        },
    )
    async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            principal = front.admit(endpoint.scope, request.scope["headers"])
            body = await read_body(cast(Receive, request.receive), limit=front.body_limit)
            reply = await endpoint.answer(principal, body)
        except LoopError as error:
            reply = problem(error)
        return _response(reply)

    return handler


class _Shape(msgspec.Struct, frozen=True):
    """How a hot endpoint is documented."""

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
        409: "The experiment is not running, or has no enabled arm.",
        410: "The request_id has expired.",
        413: "The body is too large.",
        415: "The body is not declared as JSON.",
        422: "The content is not acceptable.",
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


def _document_bodies(document: OpenAPI) -> None:
    """Put the request bodies of the hot endpoints into `document`.

    Their handlers read the raw body, so that they answer to the byte like the front; what that body looks
    like is taken from an application that is never served.
    """

    def typed(path: str, body: type) -> HTTPRouteHandler:
        async def handler(data: Any) -> None: ...

        handler.__annotations__["data"] = Annotated[body, Body()]
        return post(path)(handler)

    shown = Litestar(
        [typed(path, shape.request) for path, shape in _SHAPES.items()], logging_config=None
    ).openapi_schema
    assert document.paths is not None
    assert shown.paths is not None
    for path, item in shown.paths.items():
        ours = document.paths[path].post
        assert ours is not None
        assert item.post is not None
        ours.request_body = item.post.request_body
    assert document.components is not None
    assert document.components.schemas is not None
    assert shown.components is not None
    document.components.schemas.update(shown.components.schemas or {})


def _response(reply: Reply) -> Response[bytes]:
    return Response(
        reply.body,
        status_code=reply.status,
        media_type=reply.media_type.decode(),
        headers={name.decode(): value.decode() for name, value in reply.headers},
    )


def _loop_error(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
    return _response(problem(error))


def _too_deep(_: Request[Any, Any, Any], __: RecursionError) -> Response[bytes]:
    return _response(problem(BodyMalformed("the body is nested too deeply; flatten it")))


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Tell a framework error the way ours are told."""
    status, code = error.status_code, _CODES.get(error.status_code, "http_error")
    if isinstance(error.extra, list) and error.extra:
        status, code = 422, "invalid"
    body = msgspec.json.encode(document(status, code, _sentence(request, error)))
    return _response(Reply(status, body, PROBLEM))


def _sentence(request: Request[Any, Any, Any], error: HTTPException) -> str:
    if isinstance(error.extra, list) and error.extra:
        faults = (
            f"{fault.get('key') or fault.get('source', 'body')}: {fault.get('message')}"
            for fault in error.extra
            if isinstance(fault, dict)
        )
        return "the request does not fit: " + "; ".join(faults)
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; see /docs"
    if error.status_code == 405:
        return f"{request.method} is not understood at {request.url.path}; see /docs"
    return error.detail


_CODES: Final = {
    400: "body_malformed",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "wrong_media_type",
}


def _unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    logger.error("request failed", exc_info=error, extra={"path": request.url.path})
    return _response(
        problem(
            Failed("something unforeseen broke; the server's log has the trace, please report it")
        )
    )
