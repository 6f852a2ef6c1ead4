"""Controllers over given parts, asked without a network: the caller says in headers who it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.testing import TestClient

from loopwright.app.asgi import problem
from loopwright.core.errors import LoopError
from loopwright.core.principal import Principal

Client = TestClient[Litestar]


def serving(controllers: Sequence[Any], **parts: Any) -> Client:
    """Return a client of `controllers`, whose dependencies are `parts`; by default it acts for acme with every scope."""

    def principal(request: Request[Any, Any, Any]) -> Principal:
        tenant_id = request.headers.get("x-tenant", "acme")
        scopes = request.headers.get("x-scopes", "select feedback read manage")
        return Principal(tenant_id, "key-1", frozenset(scopes.split()))

    def told(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
        reply = problem(error)
        return Response(reply.body, status_code=reply.status, media_type=reply.media_type.decode())

    def provided(part: Any) -> Provide:
        return Provide(lambda: part, sync_to_thread=False)

    app = Litestar(
        controllers,
        dependencies={
            "principal": Provide(principal, sync_to_thread=False),
            **{name: provided(part) for name, part in parts.items()},
        },
        exception_handlers={LoopError: told},
        logging_config=None,
    )
    return TestClient(app)
