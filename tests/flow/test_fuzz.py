"""Requests made up from our own OpenAPI document never break the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

if TYPE_CHECKING:
    from tests.flow.conftest import Server

EXAMPLES = 12
"""Per operation; the document has about thirty."""


def test_no_request_makes_a_server_error(shared: Server) -> None:
    document = shared.http.get("/docs/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    seen: set[int] = set()
    operations = 0
    for result in schema.get_all_operations():
        operations += 1
        assert isinstance(result, Ok)
        seen |= _fuzz(shared, result.ok())
    assert operations > 20
    assert {200, 404, 422} <= seen


def _fuzz(server: Server, operation: Any) -> set[int]:
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        answer = case.call(
            base_url=server.url, headers={"authorization": f"Bearer {server.key}"}, timeout=10
        )
        # 503 and 507 are answers we give on purpose, and never here.
        assert answer.status_code < 500, (operation.label, answer.status_code, answer.text)
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            assert answer.headers["content-type"] == ["application/problem+json"], answer.headers
        seen.add(answer.status_code)

    attempt()
    return seen
