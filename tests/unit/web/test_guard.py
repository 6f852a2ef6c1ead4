from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, Request, Response, get
from litestar.testing import TestClient

from loopwright.core.errors import Conflict, LoopError, Unauthenticated
from loopwright.core.principal import Principal
from loopwright.web.guard import Connection, Guard, declares, needed, needs, principal_of

Client = TestClient[Litestar]


def authenticate(connection: Connection) -> Principal:
    scope = connection.headers.get("scope")
    if scope is None:
        raise Unauthenticated("no key")
    return Principal("acme", "k", frozenset({scope}))


def admitted(principal: Principal) -> None:
    if "read" in principal.scopes:
        raise Conflict("not now")


@get("/managed", sync_to_thread=False, **needs("manage"))
def managed(request: Request[Any, Any, Any]) -> str:
    return principal_of(request).tenant_id


@get("/readable", sync_to_thread=False, **needs("read"))
def readable() -> str:
    return "read"


@get("/public", sync_to_thread=False, **needs(None))
def public() -> str:
    return "public"


@get("/own", sync_to_thread=False, **needs("manage", asks_itself=True))
def own() -> str:
    return "own"


@get("/forgotten", sync_to_thread=False)
def forgotten() -> str:
    return "forgotten"


def told(_: Request[Any, Any, Any], error: LoopError) -> Response[str]:
    return Response(error.code, status_code=error.status)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    app = Litestar(
        [managed, readable, public, own, forgotten],
        guards=[Guard(authenticate, admitted)],
        exception_handlers={LoopError: told},
    )
    with TestClient(app) as client:
        yield client


def status(client: Client, path: str, scope: str | None) -> int:
    return client.get(path, headers={} if scope is None else {"scope": scope}).status_code


def test_a_route_lets_in_who_has_its_scope(client: Client) -> None:
    assert client.get("/managed", headers={"scope": "manage"}).text == "acme"
    assert [status(client, "/managed", s) for s in ("admin", "feedback", None)] == [200, 403, 401]


def test_one_that_has_the_scope_may_still_be_refused(client: Client) -> None:
    assert [status(client, "/readable", s) for s in ("read", "admin", "select")] == [409, 200, 403]


def test_a_public_route_and_one_that_asks_by_itself_are_not_guarded(client: Client) -> None:
    assert [status(client, path, None) for path in ("/public", "/own")] == [200, 200]


def test_a_route_that_declares_nothing_is_closed_to_everybody(client: Client) -> None:
    assert status(client, "/forgotten", "operator") == 403


def test_the_methods_of_a_path_are_told_to_everybody(client: Client) -> None:
    assert client.options("/managed").status_code == 204


def test_a_declaration_also_describes_the_route() -> None:
    declared = needs("manage")
    assert declares(declared["opt"])
    assert needed(declared["opt"]) == "manage"
    assert declared["security"] == [{"key": ["manage"]}]
    assert needs(None)["security"] == [{}]
    assert not declares({})
