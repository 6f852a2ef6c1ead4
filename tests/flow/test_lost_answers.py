"""An answer that is lost on the way makes the client send again; the server stores every shape once."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from loopwright.cli.digits import Served, server
from loopwright.client import AsyncClient, Client, FeedbackItem

SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("send", {"kind": "rating", "scale": "stars", "value": 4, "output_id": "a-1"}),
    "event": (
        "send",
        {
            "type": "explicit",
            "source": "user_rating",
            "category": "accuracy",
            "session_id": "s",
            "data": {"rating": 4, "message_id": "m-1"},
        },
    ),
    "correction": ("send", {"original": "SELECT 1", "corrected": "SELECT 2", "message_id": "m"}),
    "generation": (
        "send",
        {"output_id": "offer/1", "customer_id": "c-1", "generated_copy": "Two", "rating": 5},
    ),
    "browser": (
        "send",
        {"type": "signal", "kind": "copy", "value": 1, "at_ms": 1_795_000_000_000, "page": "/a"},
    ),
    "interaction": ("interactions", {"id": "answer-1", "session_id": "s", "task": "support"}),
    "interaction without an id": ("interactions", {"session_id": "s", "task": "support"}),
    "step": ("steps", {"id": "step-1", "session_id": "s", "kind": "sql_generation"}),
    "step without an id": ("steps", {"session_id": "s", "kind": "sql_generation"}),
}


class Cutting:
    """A TCP proxy before a server: once `cut` was called, the next answer is received and never handed on."""

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        self._server = (there.hostname or "", there.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_cutting = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self.cuts = 0
        self._threads[0].start()

    def cut(self) -> None:
        self._is_cutting.set()

    def close(self) -> None:
        # Closing alone would leave the thread in `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        """Carry one connection until either side leaves or an answer is cut off."""
        with client, socket.create_connection(self._server) as behind, contextlib.suppress(OSError):
            while True:
                for ready in select.select([client, behind], [], [])[0]:
                    content = ready.recv(65_536)
                    if not content:
                        return
                    if ready is behind and self._is_cutting.is_set():
                        # The server answered, so it has committed; the client cannot know.
                        self._is_cutting.clear()
                        self.cuts += 1
                        return
                    (behind if ready is client else client).sendall(content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("served") / "data", port=0) as served:
        with Client(served.url, served.api_key) as client:
            client.experiments.create("x", arms=["a", "b"])
        yield served


@pytest.fixture
def cutting(served: Served) -> Iterator[Cutting]:
    proxy = Cutting(served.url)
    yield proxy
    proxy.close()


Run = Callable[[str, str, tuple[Any, ...]], Any]


@pytest.fixture(params=["Client", "AsyncClient"])
def call(request: pytest.FixtureRequest, served: Served, cutting: Cutting) -> Run:
    """Make one call through the proxy, whose first answer is cut off."""

    def blocking(group: str, name: str, arguments: tuple[Any, ...]) -> Any:
        with Client(cutting.url, served.api_key, timeout_s=20) as client:
            cutting.cut()
            return getattr(getattr(client, group), name)(*arguments)

    def awaited(group: str, name: str, arguments: tuple[Any, ...]) -> Any:
        async def run() -> Any:
            async with AsyncClient(cutting.url, served.api_key, timeout_s=20) as client:
                cutting.cut()
                return await getattr(getattr(client, group), name)(*arguments)

        return asyncio.run(run())

    return blocking if request.param == "Client" else awaited


def selected(served: Served) -> str:
    with Client(served.url, served.api_key) as client:
        return str(client.agent.select("x").request_id)


@pytest.mark.parametrize("shape", SENT)
def test_an_item_whose_answer_was_lost_is_stored_once(
    call: Run, cutting: Cutting, served: Served, shape: str
) -> None:
    verb, item = SENT[shape]
    if shape == "browser":
        item = item | {"request_id": selected(served)}
    receipt = call("feedback", verb, ([item],))
    assert cutting.cuts == 1
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (0, 1, 0), receipt.results


def test_a_reward_whose_answer_was_lost_is_stored_once(
    call: Run, cutting: Cutting, served: Served
) -> None:
    receipt = call("agent", "feedback", (selected(served), 1.0))
    assert (cutting.cuts, receipt.duplicate) == (1, True)


def test_a_batch_whose_answer_was_lost_is_stored_once(
    call: Run, cutting: Cutting, served: Served
) -> None:
    items = [FeedbackItem(selected(served), 1.0), {"request_id": selected(served), "reward": 0}]
    receipt = call("agent", "feedback_batch", (items,))
    assert cutting.cuts == 1
    assert (receipt.accepted, receipt.duplicates) == (0, 2)


def test_a_buffer_whose_answer_was_lost_stores_each_reward_once(
    cutting: Cutting, served: Served
) -> None:
    tokens = [selected(served) for _ in range(3)]
    with Client(cutting.url, served.api_key, timeout_s=20) as client:
        cutting.cut()
        with client.buffered() as buffer:
            for token in tokens:
                buffer.feedback(request_id=token, reward=1.0)
    assert cutting.cuts == 1
    assert (buffer.accepted, buffer.duplicates, buffer.dropped) == (0, 3, 0)


def test_a_buffer_of_an_asynchronous_client_stores_each_reward_once(
    cutting: Cutting, served: Served
) -> None:
    token = selected(served)

    async def send() -> tuple[int, int]:
        async with AsyncClient(cutting.url, served.api_key, timeout_s=20) as client:
            cutting.cut()
            buffer = client.buffered()
            buffer.feedback(request_id=token, reward=1.0)
            await asyncio.to_thread(buffer.close)
            return buffer.accepted, buffer.duplicates

    assert asyncio.run(send()) == (0, 1)
    assert cutting.cuts == 1
