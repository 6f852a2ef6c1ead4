"""The requests of versions and rollouts, as they leave."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.client import rolling
from loopwright.client.exchange import Call, Terms

TERMS = Terms(base_url="http://loop")


def sent(call: Call[Any]) -> tuple[str, str, Any]:
    return call.method, call.path, None if call.body is None else msgspec.json.decode(call.body)


def test_a_rollout_without_stages_leaves_them_to_the_server() -> None:
    call = rolling.begin_rollout(TERMS, "r", experiment_id="e", champion="a", challenger="b")
    method, path, body = sent(call)
    assert (method, path) == ("POST", "/api/v1/rollouts")
    assert body["challenger"] == "b"
    assert "stages" not in body


def test_a_version_is_sent_whole() -> None:
    call = rolling.add_version(TERMS, "v", kind="prompt", content={"a": 1}, parents=["u"])
    method, path, body = sent(call)
    assert (method, path) == ("POST", "/api/v1/versions")
    assert (body["content"], body["parents"]) == ({"a": 1}, ["u"])


@pytest.mark.parametrize(
    ("build", "order"),
    [
        (rolling.hold_rollout, "hold"),
        (rolling.resume_rollout, "resume"),
        (rolling.approve_rollout, "approve"),
        (rolling.roll_back, "roll_back"),
        (rolling.cancel_rollout, "cancel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_order_is_a_post_with_its_reason(build: Any, order: str) -> None:
    assert sent(build(TERMS, "team/r", reason="so")) == (
        "POST",
        f"/api/v1/rollouts/team%2Fr/{order}",
        {"reason": "so"},
    )


def test_lists_ask_for_what_was_said() -> None:
    assert rolling.list_versions(TERMS, kind="tool").path == "/api/v1/versions?limit=100&kind=tool"
    found = rolling.list_rollouts(TERMS, experiment_id="e", limit=5)
    assert found.path == "/api/v1/rollouts?limit=5&experiment_id=e"
    assert rolling.diff_versions(TERMS, "a", "b").path == "/api/v1/versions/a/diff/b"
    assert rolling.version_lineage(TERMS, "a").path == "/api/v1/versions/a/lineage"
