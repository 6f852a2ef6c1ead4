"""The requests of triggers, as they leave."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.client import triggering
from loopwright.client.exchange import Call, Terms
from loopwright.core.trigger import GitHub, Retrain

TERMS = Terms(base_url="http://loop")


def sent(call: Call[Any]) -> tuple[str, str, Any]:
    return call.method, call.path, None if call.body is None else msgspec.json.decode(call.body)


def test_a_trigger_is_sent_whole_also_from_values() -> None:
    call = triggering.add_trigger(TERMS, "t", condition=Retrain(), actions=[GitHub()])
    method, path, body = sent(call)
    assert (method, path) == ("POST", "/api/v1/triggers")
    assert body["condition"]["kind"] == "retrain"
    assert body["actions"] == [{"kind": "github"}]
    assert (body["window_days"], body["cool_down_s"]) == (7.0, 86_400)


@pytest.mark.parametrize(
    ("build", "method", "path"),
    [
        (triggering.trigger_report, "GET", "/triggers/a%2Fb"),
        (triggering.remove_trigger, "DELETE", "/triggers/a%2Fb"),
        (triggering.enable_trigger, "POST", "/triggers/a%2Fb/enable"),
        (triggering.disable_trigger, "POST", "/triggers/a%2Fb/disable"),
        (triggering.trigger_secret, "GET", "/triggers/a%2Fb/secret"),
        (triggering.send_again, "POST", "/deliveries/a%2Fb/again"),
    ],
    ids=["report", "remove", "enable", "disable", "secret", "again"],
)
def test_what_concerns_one_names_it_in_the_path(build: Any, method: str, path: str) -> None:
    assert sent(build(TERMS, "a/b")) == (method, f"/api/v1{path}", None)


def test_lists_ask_for_what_was_said() -> None:
    assert triggering.list_triggers(TERMS).path == "/api/v1/triggers"
    assert triggering.list_firings(TERMS).path == "/api/v1/firings?limit=100"
    assert triggering.list_firings(TERMS, trigger_id="t").path.endswith("limit=100&trigger_id=t")
    found = triggering.list_deliveries(TERMS, trigger_id="t", state="dead", limit=5)
    assert found.path == "/api/v1/deliveries?limit=5&trigger_id=t&state=dead"
