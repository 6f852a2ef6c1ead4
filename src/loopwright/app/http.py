"""The Litestar application behind the front: the control plane and the documentation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException, SerializationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, SecurityScheme, Tag

import loopwright
from loopwright.catalog import routes as catalog_routes
from loopwright.core.errors import BodyMalformed, LoopError
from loopwright.core.problem import document, in_json_types, unreadable
from loopwright.datasets.routes import DatasetController
from loopwright.feedback import routes as feedback_routes
from loopwright.insights.export_routes import ExportController
from loopwright.insights.routes import InsightsController
from loopwright.learning.routes import LearningController
from loopwright.limiting.routes import LimitController
from loopwright.people import routes as people_routes
from loopwright.rollout.routes import (
    DeliveryController,
    RolloutController,
    TriggerController,
    VersionController,
)
from loopwright.signals.routes import SurrogateController
from loopwright.trust.routes import ClearanceController
from loopwright.web import Guard, needs

from .asgi import PROBLEM, App, Reply, problem
from .encodings import Decoding
from .health import Health
from .hot import Endpoint, Front
from .known import KnownParameters
from .metrics import Metrics
from .pages import DOCS, RENDERERS, static
from .paths import RawPaths, decode_ids
from .twins import rendered, twin

logger = logging.getLogger(__name__)

CONTROLLERS: Final = (
    *catalog_routes.CONTROLLERS,
    LearningController,
    *feedback_routes.CONTROLLERS,
    *people_routes.CONTROLLERS,
    InsightsController,
    ExportController,
    ClearanceController,
    SurrogateController,
    DatasetController,
    LimitController,
    VersionController,
    RolloutController,
    TriggerController,
    DeliveryController,
)

_TAGS: Final = {
    "loop": "Select an arm, send its reward.",
    "feedback": "Feedback of every kind, calls and steps; raw copies; surrogates.",
    "insights": "What people read: quality, trust, statistics, sessions, exports.",
    "experiments": "Experiments and their arms.",
    "datasets": "Training sets by recipes, with manifests.",
    "limits": "Rate limits that follow overload and that ratings trim.",
    "rollouts": "Versions, and challengers that move through stages by their evidence.",
    "triggers": "Standing conditions over feedback, and what they start.",
    "learning": "What was learned: status, snapshots, rollback.",
    "people": "Consent and erasure.",
    "quarantine": "What was refused, and its replay.",
    "keys": "API keys, and the keys that sign tokens.",
    "tenants": "Tenants.",
    "health": "Probes and metrics.",
}
"""The parts of the API, in the order in which they are shown."""


class Failed(LoopError):
    """An error without a class of ours: a bug; the log of the server has the trace."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


def build_behind(
    front: Front,
    endpoints: dict[str, Endpoint],
    *,
    metrics: Metrics,
    dependencies: Mapping[str, Provide],
    guard: Guard,
    body_limit: int,
) -> App:
    """Return the application behind `front`: the control plane, and the documented twins of `endpoints`.

    Each of `dependencies` is handed to the handlers that have a parameter of its name; `guard` runs before each.
    """
    known = KnownParameters()

    def begin(request: Request[Any, Any, Any]) -> None:
        decode_ids(request)
        known(request)

    twins = [twin(path, endpoint, front=front, known=known) for path, endpoint in endpoints.items()]
    behind = Litestar(
        [*_probes(front, metrics), static, *CONTROLLERS, *twins],
        dependencies=dependencies,
        guards=[guard],
        # Every error leaves as a problem document (RFC 9457) with a code of ours, the framework's too.
        exception_handlers={
            LoopError: _loop_error,
            HTTPException: _http_error,
            # Decoders recurse; a body of brackets alone reaches Python's limit.
            RecursionError: _too_deep,
            # Raised while the framework decodes a body; it counts as a fault of the server there.
            UnicodeDecodeError: _not_utf_8,
            Exception: _unforeseen,
        },
        openapi_config=_DESCRIPTION,
        before_request=begin,
        request_max_body_size=body_limit,
        # Litestar's own configuration would replace the one of the server.
        logging_config=None,
    )
    # After the fact, because the description exists only once the application does.
    known.learn(behind.openapi_schema)
    return Decoding(RawPaths(cast(App, behind)), limit=body_limit)


def _probes(front: Front, metrics: Metrics) -> Sequence[HTTPRouteHandler]:
    """Return the routes that balancers and scrapers ask; the front answers the first two itself."""

    @get("/health/live", tags=["health"], summary="Is the process alive?", **needs(None))
    async def live() -> Health:
        """Answer as long as the process runs."""
        return Health(status="alive")

    @get(
        "/health/ready",
        tags=["health"],
        summary="Can the process serve?",
        **needs(None),
        responses={
            200: ResponseSpec(Health, generate_examples=False, description="It can."),
            503: ResponseSpec(
                Health, generate_examples=False, description="It cannot; `reason` says why."
            ),
        },
    )
    async def readiness() -> Response[bytes]:
        """Answer 200 when selects and feedback are served, else 503; `failing` names the background work that fails."""
        return rendered(front.readiness())

    @get(
        "/metrics",
        tags=["health"],
        summary="Figures for Prometheus",
        **needs(None),
        media_type="text/plain; version=0.0.4; charset=utf-8",
        sync_to_thread=False,
    )
    def exposition(request: Request[Any, Any, Any]) -> bytes:
        """Return every metric in the Prometheus text format; names of tenants only to an operator key.

        Without one, what is counted by tenant and experiment is summed under `all`.
        """
        return metrics.exposition(names_tenants=front.is_operator(request.scope["headers"]))

    return live, readiness, exposition


_DESCRIPTION: Final = OpenAPIConfig(
    title="Loopwright",
    version=loopwright.__version__,
    description="Select an arm, send feedback, and the loop learns which arm to serve.",
    path=DOCS,
    openapi_router=Router(DOCS, route_handlers=[], include_in_schema=False, **needs(None)),
    render_plugins=RENDERERS,
    components=Components(
        security_schemes={
            "key": SecurityScheme(type="http", scheme="bearer", description="An API key: lw_…")
        }
    ),
    security=[{"key": []}],
    tags=[Tag(name, description=sentence) for name, sentence in _TAGS.items()],
    use_handler_docstrings=True,
)


def _loop_error(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
    return rendered(problem(error))


def _too_deep(_: Request[Any, Any, Any], error: RecursionError) -> Response[bytes]:
    return rendered(problem(BodyMalformed(unreadable(error))))


def _not_utf_8(request: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[bytes]:
    # Without a body it is a bug, and is reported as one.
    if request.method == "GET":
        return _unforeseen(request, error)
    return rendered(problem(BodyMalformed(unreadable(error))))


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Render an error of the framework as a problem document, with a code of ours."""
    # The framework says 400 for a body of the wrong shape, and lists the faults; ours say 422 for those.
    status, code = error.status_code, _CODES.get(error.status_code, "http_error")
    if isinstance(error.extra, list) and error.extra:
        status, code = 422, "invalid"
    body = msgspec.json.encode(document(status, code, _sentence(request, error)))
    return rendered(Reply(status, body, PROBLEM))


def _sentence(request: Request[Any, Any, Any], error: HTTPException) -> str:
    if isinstance(error.extra, list) and error.extra:
        faults = [_fault(fault) for fault in error.extra if isinstance(fault, dict)]
        return "the request does not fit: " + "; ".join(faults)
    if isinstance(error.__cause__, SerializationException):
        return unreadable(error.__cause__)
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; see /docs"
    if error.status_code == 405:
        return f"{request.method} is not understood at {request.url.path}; see /docs"
    return error.detail


def _fault(fault: Mapping[str, Any]) -> str:
    key, message = fault.get("key") or fault.get("source", "body"), str(fault.get("message"))
    # The framework calls the body by the name of the handler's parameter.
    if key == "data":
        return "the body is missing" if message == "'data'" else f"body: {in_json_types(message)}"
    return f"{key}: {in_json_types(message)}"


_CODES: Final = {
    400: "body_malformed",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "wrong_media_type",
}


def _unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    # The trace goes to the log and not into the answer: it may hold paths and what people wrote.
    logger.error("request failed", exc_info=error, extra={"path": _nameless(request.url.path)})
    return rendered(
        problem(
            Failed("something unforeseen broke; the server's log has the trace, please report it")
        )
    )


def _nameless(path: str) -> str:
    """Return a path without the id of a person, for the server's log."""
    head, people, rest = path.partition("/people/")
    return path if not people else f"{head}{people}…/{rest.rpartition('/')[2]}"
