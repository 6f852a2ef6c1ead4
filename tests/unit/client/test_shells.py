from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from loopwright.client import AsyncClient, Client, Unreachable
from loopwright.core.errors import Conflict, SettingsInvalid, Unauthenticated

from .conftest import Act, ScriptedServer, in_a_child

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


def test_a_path_below_the_base_address_is_kept(server: ScriptedServer) -> None:
    with Client(f"{server.url}/loop/") as client:
        client.agent.feedback(request_id="t", reward=1)
    assert server.seen[0][1] == "/loop/api/v1/agent/feedback"


@pytest.mark.parametrize("end", ["/api/v1", "/api/v1/", "/"])
def test_an_address_that_ends_with_the_prefix_does_not_double_it(
    server: ScriptedServer, end: str
) -> None:
    with Client(server.url + end) as client:
        client.agent.feedback(request_id="t", reward=1)
    assert server.seen[0][1] == "/api/v1/agent/feedback"


WRONG = [
    {"timeout_s": "5"},
    {"timeout_s": 0},
    {"timeout_s": float("nan")},
    {"retries": "3"},
    {"retries": -1},
    {"default_arms": ["a"]},
    {"api_key": "key\n"},
    {"base_url": 8400},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("shell", [Client, AsyncClient])
def test_a_setting_of_the_wrong_kind_is_refused_in_a_sentence(
    shell: Any, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        shell(**wrong)
    assert " " in caught.value.message


def test_a_server_that_hangs_costs_a_few_timeouts_and_then_nothing(server: ScriptedServer) -> None:
    gate = threading.Event()
    server.otherwise = Act(200, SELECTED, gate=gate)
    with Client(server.url, default_arms={"x": "a"}, timeout_s=0.05, retries=0) as client:
        for _ in range(3):
            assert client.agent.select("x").is_fallback
        for _ in range(50):
            assert client.agent.select("x").is_fallback
        assert "asked again in" in (client.agent.select("x").reason or "")
        gate.set()
    assert len(server.seen) == 3


def test_closing_twice_does_nothing_and_use_after_it_says_so(server: ScriptedServer) -> None:
    client = Client(server.url)
    client.close()
    client.close()
    with pytest.raises(Conflict, match="the client is closed"):
        client.agent.feedback(request_id="t", reward=1)


def test_an_async_client_that_is_closed_says_so(server: ScriptedServer) -> None:
    async def use() -> None:
        client = AsyncClient(server.url)
        await client.close()
        await client.close()
        await client.agent.feedback(request_id="t", reward=1)

    with pytest.raises(Conflict, match="the client is closed"):
        asyncio.run(use())


def test_a_forked_child_opens_connections_of_its_own(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        client.agent.feedback(request_id="parent", reward=1)
        assert in_a_child(lambda: client.agent.feedback(request_id="child", reward=1)) == 0
        client.agent.feedback(request_id="parent again", reward=1)
    assert [body["request_id"] for *_, body in server.seen] == ["parent", "child", "parent again"]


def test_a_child_forked_while_an_asynchronous_client_runs_opens_connections_of_its_own(
    server: ScriptedServer,
) -> None:
    async def use() -> None:
        async with AsyncClient(server.url) as client:
            await client.agent.feedback(request_id="parent", reward=1)

            def child() -> None:
                asyncio.run(client.agent.feedback(request_id="child", reward=1))

            assert in_a_child(child) == 0
            await client.agent.feedback(request_id="parent again", reward=1)

    asyncio.run(use())
    assert [body["request_id"] for *_, body in server.seen] == ["parent", "child", "parent again"]


def test_a_child_that_closes_an_inherited_asynchronous_client_leaves_the_parents_open(
    server: ScriptedServer,
) -> None:
    async def use() -> None:
        async with AsyncClient(server.url) as client:
            await client.agent.feedback(request_id="parent", reward=1)
            assert in_a_child(lambda: asyncio.run(client.close())) == 0
            await client.agent.feedback(request_id="parent again", reward=1)

    asyncio.run(use())
    assert len(server.seen) == 2


def test_an_id_with_a_slash_stays_one_segment(server: ScriptedServer) -> None:
    server.otherwise = Act(200, {})
    with Client(server.url) as client:
        client.keys.revoke("team/greeting")
    assert server.seen[0][1] == "/api/v1/keys/team%2Fgreeting/revoke"


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
