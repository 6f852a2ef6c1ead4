"""Requests with one API key, for the tests of routes."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from litestar import Litestar
from litestar.testing import TestClient

from loopwright.catalog import Catalog

Client = TestClient[Litestar]

GREETING: dict[str, Any] = {
    "id": "greeting",
    "arms": [{"id": "formal", "payload": {"text": "Good morning."}}, {"id": "casual"}],
}


class Caller:
    """One API key in use."""

    def __init__(self, client: Client, catalog: Catalog, tenant_id: str, *scopes: str) -> None:
        self._client = client
        self.issued = catalog.keys.create(tenant_id, scopes)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.request(
            method,
            f"/api/v1{path}",
            content=None if body is None else msgspec.json.encode(body),
            headers={
                "authorization": f"Bearer {self.issued.secret}",
                "content-type": "application/json",
                **named,
            },
        )


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return answer.status_code, answer.json()["code"]
