from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loopwright.app.unprefixed import KEYLESS, Unprefixed


def passed_on(path: str, *, tenant: str | None = "acme", **changed: Any) -> dict[str, Any]:
    """Return the scope that the application behind sees."""
    seen: list[dict[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any: ...

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"localhost:8400"), (b"content-type", b"application/json")],
        **changed,
    }
    asyncio.run(Unprefixed(behind, keyless_tenant=tenant)(scope, nothing, nothing))
    return seen[0]


def test_feedback_gets_the_prefix_and_other_paths_stay() -> None:
    assert passed_on("/feedback/a%2Fb")["raw_path"] == b"/api/v1/feedback/a%2Fb"
    assert passed_on("/feedback")["path"] == "/api/v1/feedback"
    assert passed_on("/feedbacks")["path"] == "/feedbacks"
    assert passed_on("/api/v1/feedback").get(KEYLESS) is None


def test_a_program_on_this_machine_needs_no_key_where_a_tenant_is_set() -> None:
    assert passed_on("/feedback")[KEYLESS] == "acme"
    assert KEYLESS not in passed_on("/feedback", tenant=None)
    assert KEYLESS not in passed_on("/feedback/correction")


@pytest.mark.parametrize(
    "changed",
    [
        {"client": ("203.0.113.7", 1)},
        {"client": None},
        {"headers": [(b"host", b"evil.example"), (b"content-type", b"application/json")]},
        {"headers": [(b"host", b"localhost"), (b"content-type", b"text/plain")]},
        {"headers": [(b"host", b"localhost")]},
        {
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                (b"origin", b"https://evil.example"),
            ]
        },
    ],
)
def test_what_may_come_from_elsewhere_needs_a_key(changed: dict[str, Any]) -> None:
    assert KEYLESS not in passed_on("/feedback", **changed)
