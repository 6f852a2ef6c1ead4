"""Query parameters that no route has are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, Response, get
from litestar.params import FromPath, FromQuery
from litestar.testing import TestClient

from loopwright.app.known import KnownParameters
from loopwright.core.errors import Invalid


@get("/things/{id:str}")
async def thing(id: FromPath[str], limit: FromQuery[int] = 3, after: FromQuery[str] = "") -> str:
    return f"{id} {limit}"


@get("/health/live")
async def live() -> str:
    return "alive"


@get("/bare")
async def bare() -> str:
    return "bare"


def refused(_: Any, error: Invalid) -> Response[str]:
    return Response(error.message, status_code=error.status)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    known = KnownParameters()
    app = Litestar([thing, live, bare], before_request=known, exception_handlers={Invalid: refused})
    known.learn(app.openapi_schema)
    with TestClient(app) as client:
        yield client


def test_a_parameter_of_the_route_passes(client: TestClient[Litestar]) -> None:
    assert client.get("/things/a?limit=5").text == "a 5"


def test_a_misspelt_parameter_is_named_with_those_there_are(client: TestClient[Litestar]) -> None:
    said = client.get("/things/a?limits=5").text
    assert said == "there is no query parameter 'limits' here; there are after, limit"


def test_a_route_without_parameters_says_so(client: TestClient[Litestar]) -> None:
    assert client.get("/bare?b=1&a=2").text.endswith("'a', 'b' here; there are none")


def test_a_probe_may_carry_what_its_balancer_adds(client: TestClient[Litestar]) -> None:
    assert client.get("/health/live?from=balancer").text == "alive"
