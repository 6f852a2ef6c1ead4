"""The files that browsers get."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, Response
from litestar.testing import TestClient

from loopwright.app.pages import STATIC, static
from loopwright.core.errors import LoopError


def refused(_: Any, error: LoopError) -> Response[str]:
    return Response(error.message, status_code=error.status)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    with TestClient(Litestar([static], exception_handlers={LoopError: refused})) as client:
        yield client


def test_the_snippet_is_a_script_that_no_browser_guesses_about(
    client: TestClient[Litestar],
) -> None:
    answer = client.get(f"{STATIC}/loopwright-feedback.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "vary" not in answer.headers


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_a_packed_file_is_unpacked_for_a_client_that_takes_no_gzip(
    client: TestClient[Litestar], name: str
) -> None:
    packed = client.get(f"{STATIC}/{name}", headers={"accept-encoding": "gzip"})
    plain = client.get(f"{STATIC}/{name}", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.content == plain.content != gzip.compress(b"")


@pytest.mark.parametrize("name", ["pages.py", "..%2Fpages.py", "swagger-ui%2FLICENSE"])
def test_nothing_else_is_given_away(client: TestClient[Litestar], name: str) -> None:
    assert client.get(f"{STATIC}/{name}").status_code == 404
