from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from loopwright.client import AsyncClient, BufferFull, Client, FeedbackItem
from loopwright.core.errors import (
    Conflict,
    Invalid,
    LoopError,
    RewardInvalid,
    SettingsInvalid,
    Unauthenticated,
)

from .conftest import Act, ScriptedServer, in_a_child


def accept_all(body: Any) -> dict[str, Any]:
    results = [
        {"status": 201, "event_id": item["event_id"], "decision_id": "d"} for item in body["items"]
    ]
    return {"accepted": len(results), "duplicates": 0, "rejected": 0, "results": results}


def batches(server: ScriptedServer) -> list[list[dict[str, Any]]]:
    return [body["items"] for *_, body in server.seen]


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.otherwise = Act(200, accept_all)
    return server


def test_a_full_batch_leaves_at_once(server: ScriptedServer) -> None:
    with Client(server.url) as client, client.buffered(max_items=3, max_wait_s=60) as buffer:
        for number in range(3):
            buffer.feedback(request_id=f"t{number}", reward=1)
        server.until_seen(1)
        assert [item["request_id"] for item in batches(server)[0]] == ["t0", "t1", "t2"]


def test_a_lone_item_leaves_after_max_wait(server: ScriptedServer) -> None:
    with Client(server.url) as client, client.buffered(max_items=100, max_wait_s=0.01) as buffer:
        buffer.feedback(request_id="t", reward=1)
        server.until_seen(1)


def test_flush_returns_when_everything_before_it_is_stored(server: ScriptedServer) -> None:
    with Client(server.url) as client, client.buffered(max_items=10, max_wait_s=60) as buffer:
        for number in range(25):
            buffer.feedback(request_id=f"t{number}", reward=1)
        assert buffer.flush(timeout_s=5)
        assert (buffer.accepted, buffer.pending) == (25, 0)
        sent = [item["request_id"] for batch in batches(server) for item in batch]
        assert sent == [f"t{number}" for number in range(25)]


def test_flush_says_when_it_ran_out_of_time(server: ScriptedServer) -> None:
    gate = threading.Event()
    server.script.append(Act(200, accept_all, gate=gate))
    with Client(server.url) as client, client.buffered(max_wait_s=60) as buffer:
        buffer.feedback(request_id="t", reward=1)
        assert not buffer.flush(timeout_s=0.02)
        gate.set()
        assert buffer.flush(timeout_s=5)


def test_close_sends_what_is_left(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        buffer = client.buffered(max_items=100, max_wait_s=60)
        buffer.feedback(request_id="t", reward=1)
        buffer.close()
        assert buffer.accepted == 1
        with pytest.raises(Conflict, match="closed"):
            buffer.feedback(request_id="t", reward=1)
        buffer.close()


def test_a_batch_sent_again_carries_the_same_event_ids(server: ScriptedServer) -> None:
    server.script.extend([Act(hang_up=True), Act(503, {})])
    with Client(server.url, retries=0) as client, client.buffered(max_wait_s=0) as buffer:
        event_id = buffer.feedback(request_id="t", reward=1)
        assert buffer.flush(timeout_s=5)
    assert {batch[0]["event_id"] for batch in batches(server)} == {event_id}
    assert len(server.seen) == 3
    assert buffer.dropped == 0


def test_a_full_queue_raises(server: ScriptedServer) -> None:
    gate = threading.Event()
    server.script.append(Act(200, accept_all, gate=gate))
    with (
        Client(server.url) as client,
        client.buffered(max_items=1, max_queue=2, max_wait_s=60) as buffer,
    ):
        buffer.feedback(request_id="being sent", reward=1)
        server.until_seen(1)
        buffer.feedback(request_id="a", reward=1)
        buffer.feedback(request_id="b", reward=1)
        with pytest.raises(BufferFull, match="2 items"):
            buffer.feedback(request_id="c", reward=1)
        gate.set()
    assert buffer.accepted == 3


def test_a_full_queue_blocks_when_asked_to(server: ScriptedServer) -> None:
    gate = threading.Event()
    server.script.append(Act(200, accept_all, gate=gate))
    with (
        Client(server.url) as client,
        client.buffered(max_items=1, max_queue=1, on_full="block") as buffer,
    ):
        buffer.feedback(request_id="being sent", reward=1)
        server.until_seen(1)
        buffer.feedback(request_id="a", reward=1)
        producer = threading.Thread(
            target=lambda: buffer.feedback(request_id="b", reward=1), daemon=True
        )
        producer.start()
        producer.join(0.02)
        assert producer.is_alive()
        gate.set()
        producer.join(5)
        assert not producer.is_alive()
        assert buffer.flush(timeout_s=5)
    assert buffer.accepted == 3


def test_refused_items_are_reported_with_the_servers_reason(server: ScriptedServer) -> None:
    def refuse_second(body: Any) -> dict[str, Any]:
        answer = accept_all(body)
        answer["results"][1] = {
            "status": 422,
            "problem": {"code": "reward_invalid", "detail": "reward is 7"},
        }
        return {**answer, "accepted": 1, "rejected": 1}

    server.script.append(Act(200, refuse_second))
    reported: list[tuple[FeedbackItem, LoopError]] = []
    with (
        Client(server.url) as client,
        client.buffered(
            max_items=2, on_error=lambda item, error: reported.append((item, error))
        ) as buffer,
    ):
        buffer.feedback(request_id="good", reward=1)
        buffer.feedback(request_id="bad", reward=7)
        assert buffer.flush(timeout_s=5)
    ((item, error),) = reported
    assert item.request_id == "bad"
    assert isinstance(error, RewardInvalid)
    assert (buffer.accepted, buffer.rejected, buffer.dropped) == (1, 1, 0)


def test_a_refused_batch_is_dropped_counted_and_reported(server: ScriptedServer) -> None:
    problem = {"code": "unauthenticated", "status": 401, "detail": "no key", "title": "x"}
    server.otherwise = Act(401, problem)
    reported: list[LoopError] = []
    with (
        Client(server.url) as client,
        client.buffered(max_items=2, on_error=lambda _, error: reported.append(error)) as buffer,
    ):
        buffer.feedback(request_id="a", reward=1)
        buffer.feedback(request_id="b", reward=1)
        assert buffer.flush(timeout_s=5)
    assert buffer.dropped == 2
    assert [type(error) for error in reported] == [Unauthenticated, Unauthenticated]


def test_an_on_error_that_fails_does_not_stop_the_buffer(server: ScriptedServer) -> None:
    server.script.append(Act(401, {"code": "unauthenticated", "detail": "no"}))

    def explode(_: FeedbackItem, error: LoopError) -> None:
        raise KeyError("in the product")

    with Client(server.url) as client, client.buffered(on_error=explode) as buffer:
        buffer.feedback(request_id="a", reward=1)
        assert buffer.flush(timeout_s=5)
        buffer.feedback(request_id="b", reward=1)
        assert buffer.flush(timeout_s=5)
    assert (buffer.dropped, buffer.accepted) == (1, 1)


def test_a_batch_too_large_for_the_server_is_halved(server: ScriptedServer) -> None:
    too_large = {"code": "body_too_large", "status": 413, "detail": "too large", "title": "x"}
    server.script.append(Act(413, too_large))
    with Client(server.url) as client, client.buffered(max_items=5) as buffer:
        for number in range(5):
            buffer.feedback(request_id=f"t{number}", reward=1)
        assert buffer.flush(timeout_s=5)
    assert [len(batch) for batch in batches(server)] == [5, 2, 3]
    assert (buffer.accepted, buffer.dropped) == (5, 0)


def test_close_gives_up_on_a_server_that_stays_away(closed_port: int) -> None:
    reported: list[LoopError] = []
    with Client(f"http://127.0.0.1:{closed_port}", retries=0) as client:
        buffer = client.buffered(max_wait_s=0, on_error=lambda _, error: reported.append(error))
        buffer.feedback(request_id="t", reward=1)
        buffer.close(timeout_s=0.02)
    assert buffer.dropped == 1
    assert reported[0].code == "unreachable"


def test_feedback_for_a_fallback_never_enters_the_queue(server: ScriptedServer) -> None:
    with Client(server.url) as client, client.buffered() as buffer:
        assert buffer.feedback(request_id=None, reward=1) is None
        assert buffer.pending == 0
        assert client.skipped == 1
    assert server.seen == []


def test_an_async_client_has_a_buffer_too(server: ScriptedServer) -> None:
    async def run() -> int:
        async with AsyncClient(server.url) as client:
            buffer = client.buffered()
            buffer.feedback(request_id="t", reward=1)
            await asyncio.to_thread(buffer.close)
            return buffer.accepted

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize(("max_items", "max_queue"), [(0, 10), (1001, 2000), (10, 5)])
def test_sizes_that_cannot_work_are_refused(max_items: int, max_queue: int) -> None:
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(SettingsInvalid, match="a batch holds"),
    ):
        client.buffered(max_items=max_items, max_queue=max_queue)


@pytest.mark.parametrize("event_id", [object(), "half \ud800", 7], ids=["object", "surrogate", "n"])
def test_an_event_id_that_cannot_be_sent_is_refused_and_ends_nothing(
    server: ScriptedServer, event_id: Any
) -> None:
    server.otherwise = Act(200, accept_all)
    with Client(server.url) as client, client.buffered(max_wait_s=0) as buffer:
        with pytest.raises(Invalid, match="event_id"):
            buffer.feedback(request_id="a", reward=1, event_id=event_id)
        buffer.feedback(request_id="b", reward=1)
        assert buffer.flush(timeout_s=5)
        assert (buffer.accepted, buffer.dropped) == (1, 0)


@pytest.mark.parametrize("status", [400, 422])
def test_a_batch_refused_for_one_item_is_sent_item_by_item(
    server: ScriptedServer, status: int
) -> None:
    refusal = {"code": "invalid", "status": status, "detail": "items[1] does not fit", "title": "x"}
    server.script += [
        Act(status, refusal),
        Act(200, accept_all),
        Act(status, refusal),
        Act(200, accept_all),
    ]
    told: list[str] = []
    with (
        Client(server.url) as client,
        client.buffered(
            max_items=3, on_error=lambda item, _: told.append(item.request_id or "")
        ) as buffer,
    ):
        for name in "abc":
            buffer.feedback(request_id=name, reward=1)
        assert buffer.flush(timeout_s=5)
        assert (buffer.accepted, buffer.dropped) == (2, 1)
    assert told == ["b"]


def test_an_answer_that_nobody_foresaw_costs_its_batch_and_not_the_thread(
    server: ScriptedServer,
) -> None:
    short = {"accepted": 1, "duplicates": 0, "rejected": 0, "results": []}
    server.script.append(Act(200, short))
    server.otherwise = Act(200, accept_all)
    told: list[LoopError] = []
    with (
        Client(server.url) as client,
        client.buffered(max_items=1, on_error=lambda _, error: told.append(error)) as buffer,
    ):
        buffer.feedback(request_id="a", reward=1)
        assert buffer.flush(timeout_s=5)
        buffer.feedback(request_id="b", reward=1)
        assert buffer.flush(timeout_s=5)
        assert (buffer.accepted, buffer.dropped) == (1, 1)
    assert len(told) == 1


def test_a_forked_child_sends_its_own_items_and_leaves_the_parents_alone(
    server: ScriptedServer,
) -> None:
    server.otherwise = Act(200, accept_all)
    with Client(server.url) as client, client.buffered(max_wait_s=30) as buffer:
        buffer.feedback(request_id="parent", reward=1)

        def child() -> None:
            assert buffer.pending == 0
            buffer.feedback(request_id="child", reward=1)
            assert buffer.flush(timeout_s=5)
            assert buffer.accepted == 1
            buffer.close()

        assert in_a_child(child) == 0
        assert buffer.flush(timeout_s=5)
    sent = [[item["request_id"] for item in body["items"]] for *_, body in server.seen]
    assert sent == [["child"], ["parent"]]


def test_flushing_after_close_and_closing_twice_end_at_once(server: ScriptedServer) -> None:
    server.otherwise = Act(200, accept_all)
    with Client(server.url) as client:
        buffer = client.buffered()
        buffer.feedback(request_id="a", reward=1)
        buffer.close()
        buffer.close()
        assert buffer.flush()
        assert buffer.accepted == 1
