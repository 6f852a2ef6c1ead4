from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loopwright.cli.digits import Served, server
from loopwright.client import AsyncClient, Client, Receipt, Selection, Unreachable
from loopwright.core.errors import (
    Conflict,
    ContextInvalid,
    ExperimentClosed,
    Invalid,
    NotFound,
    RewardInvalid,
    TokenForged,
    Unauthenticated,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("served") / "data", port=0) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.api_key, timeout_s=10) as client:
        yield client


def until(happens: Callable[[], bool], timeout_s: float = 10.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not happens():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)


def test_select_feedback_learn(client: Client) -> None:
    client.experiments.create("loop", arms=[{"id": "good", "payload": {"n": 1}}, "bad"])
    for _ in range(60):
        selection = client.agent.select("loop", {"id": "u", "metadata": {"page": "home"}})
        assert 0 < (selection.propensity or 0) <= 1
        client.agent.feedback(selection.request_id, reward=selection.arm.id == "good")
    until(lambda: client.experiments.status("loop").feedback == 60)
    share = {arm.arm_id: arm.share or 0 for arm in client.experiments.status("loop").arms}
    assert share["good"] > 0.8
    picked = client.agent.select("loop", mask=["good"])
    assert (picked.arm.id, picked.arm.payload, picked.propensity) == ("good", {"n": 1}, 1.0)


def test_the_same_feedback_twice_is_a_duplicate(client: Client) -> None:
    client.experiments.create("twice", arms=["a", "b"])
    selection = client.agent.select("twice")
    first = client.agent.feedback(selection.request_id, 1, event_id="mine")
    second = client.agent.feedback(selection.request_id, 1, event_id="mine")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.decision_id == second.decision_id == selection.decision_id


def test_a_batch_tells_the_fate_of_each_item(client: Client) -> None:
    client.experiments.create("batch", arms=["a", "b"])
    good, other = client.agent.select("batch"), client.agent.select("batch")
    receipt = client.agent.feedback_batch(
        [
            {"request_id": good.request_id, "reward": 1},
            {"request_id": good.request_id, "reward": 1},
            {"request_id": other.request_id, "reward": 7},
            {"request_id": "nonsense" * 8, "reward": 1},
            {"request_id": None, "reward": 1},
        ]
    )
    counts = (receipt.accepted, receipt.duplicates, receipt.rejected, receipt.skipped)
    assert counts == (1, 1, 2, 1)
    assert isinstance(receipt.results[0], Receipt)
    assert isinstance(receipt.results[2], RewardInvalid)
    assert receipt.results[4] == Receipt(skipped=True)


def test_refusals_come_back_as_the_errors_they_are(client: Client, served: Served) -> None:
    client.experiments.create("refuse", arms=["a", "b"], dimension=2)
    selection = client.agent.select("refuse", {"vector": [1, 2]})
    assert selection.request_id is not None
    with pytest.raises(ContextInvalid, match="expects 2"):
        client.agent.select("refuse", {"vector": [1]})
    with pytest.raises(RewardInvalid, match="binary"):
        client.agent.feedback(selection.request_id, 0.5)
    flipped = selection.request_id[:-3] + ("AAA" if selection.request_id[-3:] != "AAA" else "BBB")
    with pytest.raises((TokenForged, Invalid)):
        client.agent.feedback(flipped, 1)
    with pytest.raises(NotFound, match="nowhere"):
        client.agent.select("nowhere")
    with pytest.raises(Conflict, match="already"):
        client.experiments.create("refuse", arms=["a"])
    with Client(served.url, "lw_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.agent.select("refuse", {"vector": [1, 2]})


def test_an_experiment_goes_through_its_life(client: Client) -> None:
    draft = client.experiments.create("life", arms=["a"], start=False)
    assert draft.state == "draft"
    with pytest.raises(ExperimentClosed):
        client.agent.select("life")
    assert client.experiments.start("life").state == "running"
    assert [arm.id for arm in client.experiments.add_arm("life", "b", payload=[1]).arms] == [
        "a",
        "b",
    ]
    changed = client.experiments.change_arm("life", "a", state="disabled")
    assert changed.arms[0].state == "disabled"
    assert client.agent.select("life").arm.payload == [1]
    selection = client.agent.select("life")
    assert client.experiments.pause("life").state == "paused"
    assert not client.agent.feedback(selection.request_id, 1).duplicate
    assert client.experiments.resume("life").state == "running"
    assert client.experiments.end("life").state == "ended"
    assert client.experiments.get("life").state == "ended"
    assert "life" in [experiment.id for experiment in client.experiments.list().items]
    page = client.experiments.list(limit=1)
    assert len(page.items) == 1


def test_keys_are_made_and_ended(client: Client, served: Served) -> None:
    client.experiments.create("keyed", arms=["a"])
    issued = client.keys.create(scopes=["select"], name="shop")
    with Client(served.url, issued["secret"]) as shop:
        assert isinstance(shop.agent.select("keyed"), Selection)
        client.keys.revoke(issued["key"]["id"])
        with pytest.raises(Unauthenticated):
            shop.agent.select("keyed")
    assert issued["key"]["id"] in [key["id"] for key in client.keys.list()]
    before = client.agent.select("keyed")
    assert client.keys.rotate_signing()["active"]
    assert not client.agent.feedback(before.request_id, 1).duplicate


def test_a_buffer_delivers_everything_once(client: Client) -> None:
    client.experiments.create("buffered", arms=["a", "b"])
    with client.buffered(max_items=32) as buffer:
        for _ in range(150):
            selection = client.agent.select("buffered")
            buffer.feedback(request_id=selection.request_id, reward=1)
        assert buffer.flush(timeout_s=10)
        assert (buffer.accepted, buffer.rejected, buffer.dropped) == (150, 0, 0)
    until(lambda: client.experiments.status("buffered").feedback == 150)


def test_many_at_once_from_asyncio(served: Served, client: Client) -> None:
    client.experiments.create("async", arms=["a", "b"])

    async def loop() -> list[Receipt]:
        async with AsyncClient(served.url, served.api_key, timeout_s=10) as client:

            async def once() -> Receipt:
                selection = await client.agent.select("async")
                return await client.agent.feedback(selection.request_id, reward=1)

            return await asyncio.gather(*(once() for _ in range(40)))

    receipts = asyncio.run(loop())
    assert len({receipt.decision_id for receipt in receipts}) == 40


def test_a_dead_server_is_survived_and_nothing_counts_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server(data, port=0) as first:
        port = int(first.url.rsplit(":", 1)[1])
        client = Client(first.url, first.api_key, timeout_s=10, default_arms={"x": "plain"})
        client.experiments.create("x", arms=["a", "b"])
        selection = client.agent.select("x")
        buffer = client.buffered(max_wait_s=0)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        fallback = client.agent.select("x")
        assert fallback.is_fallback
        assert fallback.arm.payload == "plain"
        with pytest.raises(Unreachable):
            client.agent.select("other")
        buffer.feedback(request_id=selection.request_id, reward=1)
        buffer.feedback(request_id=fallback.request_id, reward=1)
    with server(data, port=port):
        assert buffer.flush(timeout_s=10)
        assert (buffer.accepted, buffer.dropped, client.skipped) == (1, 0, 1)
        assert client.agent.feedback(selection.request_id, 1).duplicate
        until(lambda: client.experiments.status("x").feedback == 1)
        buffer.close()
        client.close()


def test_feedback_of_every_kind_reaches_the_report(client: Client) -> None:
    calls = client.feedback.interactions(
        [{"id": "typed-1", "task": "support", "prompt_version": "p1", "model_version": "m1"}]
    )
    assert (calls.accepted, calls.rejected) == (1, 0)
    sent = client.feedback.send(
        [
            {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "typed-1"},
            {"kind": "signal", "name": "copy", "output_id": "typed-1"},
            {"kind": "rating", "scale": "stars", "value": 9, "output_id": "typed-1"},
        ]
    )
    assert (sent.accepted, sent.rejected) == (2, 1)
    assert (sent.results[2].problem or {})["code"] == "invalid"
    report = client.feedback.quality("default")
    assert report.census.calls == 1
    satisfaction = next(m for m in report.metrics or () if m.name == "satisfaction")
    assert satisfaction.value == 1.0


def test_the_asynchronous_client_sends_the_same(served: Served) -> None:
    async def send() -> int:
        async with AsyncClient(served.url, served.api_key, timeout_s=10) as client:
            step = {"id": "step-1", "session_id": "s-typed", "kind": "sql_generation"}
            return (await client.feedback.steps([step])).accepted

    assert asyncio.run(send()) == 1
