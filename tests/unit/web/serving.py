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
from loopwright.web.guard import Connection, Guard, principal_of

Client = TestClient[Litestar]


def serving(controllers: Sequence[Any], **parts: Any) -> Client:
    """Return a client of `controllers`, whose dependencies are `parts`; by default it acts for acme with every scope."""

    def authenticate(connection: Connection) -> Principal:
        tenant_id = connection.headers.get("x-tenant", "acme")
        scopes = connection.headers.get("x-scopes", "select feedback read manage")
        return Principal(tenant_id, "key-1", frozenset(scopes.split()))

    def principal(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

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
        guards=[Guard(authenticate)],
        openapi_config=None,
        logging_config=None,
    )
    return TestClient(app)
