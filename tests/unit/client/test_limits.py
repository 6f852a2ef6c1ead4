"""The requests of limits, as they leave."""

from __future__ import annotations

import msgspec

from loopwright.client import limits
from loopwright.client.exchange import Terms

TERMS = Terms(base_url="http://loop")


def test_a_limit_is_put_whole() -> None:
    call = limits.put_limit(TERMS, "team/chat", prior=80, most=120)
    assert (call.method, call.path) == ("PUT", "/api/v1/limits/team%2Fchat")
    body = msgspec.json.decode(call.body or b"")
    assert (body["prior"], body["most"], body["mode"]) == (80, 120, "enforce")


def test_asking_names_key_and_cost() -> None:
    call = limits.acquire(TERMS, "chat", key="ada", cost=3)
    assert call.path == "/api/v1/limits/chat/acquire"
    assert msgspec.json.decode(call.body or b"") == {"key": "ada", "cost": 3}


def test_the_other_calls_name_their_limit() -> None:
    assert limits.limit_status(TERMS, "chat").path == "/api/v1/limits/chat"
    assert limits.list_limits(TERMS).path == "/api/v1/limits"
    assert limits.delete_limit(TERMS, "chat").method == "DELETE"
    report = limits.report_load(TERMS, "chat", overloaded=0.5)
    assert (report.path, report.body) == ("/api/v1/limits/chat/load", b'{"overloaded":0.5}')
