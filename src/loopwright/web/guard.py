"""Which scope a route needs, said where the route is declared, and the guard that holds callers to it.

One declaration serves both the check and the matrix of routes and roles in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from loopwright.core.errors import Forbidden
from loopwright.core.principal import Principal, Scope

_NEEDS: Final = "loopwright_scope"
_ASKS_ITSELF: Final = "loopwright_asks_itself"
_PRINCIPAL: Final = "loopwright.principal"
"""Member of the request's state that holds the principal of an admitted request."""

Connection = ASGIConnection[Any, Any, Any, Any]


def needs(scope: Scope | None, *, asks_itself: bool = False) -> dict[str, Any]:
    """Return the arguments that declare a handler for callers with `scope`; None lets everybody in.

    With `asks_itself` the handler authenticates and checks by itself, and the declaration only documents it.
    """
    return {
        "opt": {_NEEDS: scope, _ASKS_ITSELF: asks_itself},
        # OpenAPI 3.1, "Security Requirement Object": the list may name the roles that an operation needs.
        "security": [{} if scope is None else {"key": [scope]}],
    }


def declares(opt: Mapping[str, Any]) -> bool:
    """Say whether a handler with this `opt` declares who may call it."""
    return _NEEDS in opt


def needed(opt: Mapping[str, Any]) -> Scope | None:
    """Return the scope that a handler with this `opt` needs; None when it lets everybody in."""
    found: Scope | None = opt[_NEEDS]
    return found


class Guard:
    """Runs before each handler: it authenticates, checks the declared scope, and keeps the principal.

    `authenticate` returns who asks, or raises `Unauthenticated`; `admitted` may refuse a principal that has the scope.
    """

    def __init__(
        self,
        authenticate: Callable[[Connection], Principal],
        admitted: Callable[[Principal], None] = lambda principal: None,
    ) -> None:
        self._authenticate = authenticate
        self._admitted = admitted

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise `Unauthenticated` or `Forbidden` when the request may not reach `handler`."""
        opt = handler.opt
        # The framework answers OPTIONS itself, with the methods of a path.
        if connection.scope.get("method") == "OPTIONS":
            return
        if not declares(opt):
            # Closed, not open: a forgotten declaration must not publish a route.
            raise Forbidden(
                f"{connection.url.path} does not declare the scope that it needs: give its handler **needs(…)"
            )
        scope = needed(opt)
        if scope is None or opt[_ASKS_ITSELF]:
            return
        principal = self._authenticate(connection)
        principal.require(scope)
        self._admitted(principal)
        connection.scope["state"][_PRINCIPAL] = principal


def principal_of(connection: Connection) -> Principal:
    """Return who asks, once a guard has admitted the request."""
    found = connection.scope["state"].get(_PRINCIPAL)
    assert isinstance(found, Principal), "a route that asks for the principal must need a scope"
    return found
