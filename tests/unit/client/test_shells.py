from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

from loopwright.client import AsyncClient, Client, Unreachable
from loopwright.client.shells import Agent, AsyncAgent, AsyncExperiments, Experiments
from loopwright.core.errors import SettingsInvalid, Unauthenticated

from .conftest import Act, ScriptedServer

SELECTED = {
    "request_id": "token",
    "decision_id": "d",
    "experiment_id": "x",
    "arm": {"id": "a", "payload": None, "metadata": {}},
    "propensity": 1.0,
    "snapshot": 0,
    "mode": "live",
}


def test_both_clients_send_the_same_request(server: ScriptedServer) -> None:
    server.script.extend([Act(200, SELECTED), Act(200, SELECTED)])
    with Client(server.url, "lw_key") as client:
        first = client.agent.select(experiment_id="x", context={"vector": [1.0]})

    async def ask() -> Any:
        async with AsyncClient(server.url, "lw_key") as client:
            return await client.agent.select(experiment_id="x", context={"vector": [1.0]})

    assert asyncio.run(ask()) == first
    one, other = server.seen
    assert one[:2] == other[:2] == ("POST", "/api/v1/agent/select")
    assert one[3] == other[3]
    for _, _, headers, _ in server.seen:
        assert headers["authorization"] == "Bearer lw_key"
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("pair", [(Agent, AsyncAgent), (Experiments, AsyncExperiments)])
def test_both_clients_offer_the_same_calls(pair: tuple[type, type]) -> None:
    def offered(group: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(value).parameters)
            for name, value in vars(group).items()
            if callable(value)
        }

    assert offered(pair[0]) == offered(pair[1])


def test_a_path_below_the_base_address_is_kept(server: ScriptedServer) -> None:
    with Client(f"{server.url}/loop/") as client:
        client.agent.feedback(request_id="t", reward=1)
    assert server.seen[0][1] == "/loop/api/v1/agent/feedback"


def test_an_id_with_a_slash_stays_one_segment(server: ScriptedServer) -> None:
    server.otherwise = Act(200, {})
    with Client(server.url) as client:
        client.experiments.status("team/greeting")
    assert server.seen[0][1] == "/api/v1/experiments/team%2Fgreeting/status"


def test_feedback_survives_a_connection_that_breaks(server: ScriptedServer) -> None:
    server.script.extend([Act(hang_up=True), Act(hang_up=True)])
    with Client(server.url) as client:
        receipt = client.agent.feedback(request_id="t", reward=1)
    assert receipt.event_id == "e"
    assert len(server.seen) == 3
    assert len({body["event_id"] for *_, body in server.seen}) == 1


def test_async_feedback_survives_a_busy_server(server: ScriptedServer) -> None:
    server.script.extend([Act(503, {}), Act(hang_up=True)])

    async def send() -> Any:
        async with AsyncClient(server.url) as client:
            return await client.agent.feedback(request_id="t", reward=1)

    assert asyncio.run(send()).event_id == "e"
    assert len({body["event_id"] for *_, body in server.seen}) == 1


def test_a_server_that_is_silent_is_given_up_in_time(server: ScriptedServer) -> None:
    gate = threading.Event()
    server.script.append(Act(gate=gate))
    with (
        Client(server.url, timeout_s=0.1) as client,
        pytest.raises(Unreachable, match="ReadTimeout"),
    ):
        client.agent.select(experiment_id="x")
    gate.set()
    assert len(server.seen) == 1


def test_nobody_listening_falls_back_to_the_default_arm(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    with Client(url, default_arms={"x": "plain"}, timeout_s=0.5) as client:
        selection = client.agent.select(experiment_id="x")
        receipt = client.agent.feedback(request_id=selection.request_id, reward=1)
        with pytest.raises(Unreachable, match="ConnectError"):
            client.agent.select(experiment_id="y")
    assert selection.is_fallback
    assert receipt.skipped
    assert (client.fallbacks, client.skipped) == (1, 1)


def test_async_nobody_listening_falls_back_to_the_default_arm(closed_port: int) -> None:
    async def ask() -> Any:
        url = f"http://127.0.0.1:{closed_port}"
        async with AsyncClient(url, default_arms={"x": "plain"}, timeout_s=0.5) as client:
            return await client.agent.select(experiment_id="x"), client.fallbacks

    selection, fallbacks = asyncio.run(ask())
    assert selection.is_fallback
    assert fallbacks == 1


def test_a_refusal_raises_the_servers_own_error(server: ScriptedServer) -> None:
    problem = {"title": "Unauthorized", "status": 401, "detail": "no", "code": "unauthenticated"}
    server.otherwise = Act(401, problem)
    with Client(server.url) as client, pytest.raises(Unauthenticated, match="no"):
        client.agent.feedback(request_id="t", reward=1)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["localhost:8400", "ftp://x", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"address"):
        Client(url)


def test_the_key_does_not_show_in_what_is_printed(server: ScriptedServer) -> None:
    with Client(server.url, "lw_secret") as client:
        assert "lw_secret" not in repr(client)
        assert "lw_secret" not in repr(vars(client))
