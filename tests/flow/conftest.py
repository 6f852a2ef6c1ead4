"""A real server process over a real data directory."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.forked import Forked


class Server:
    """`loopwright serve` on a free port, and a client that holds its first key."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = settings
        self.start()

    def start(self) -> None:
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]
        self.process = Forked(["serve", "--port=0", *flags, f"--data={self.data}"])
        self.said = ""
        for line in self.process.stderr:
            self.said += line
            if "url=" in line:
                break
        else:
            raise AssertionError(f"the server did not start: {self.said}")
        self.url = line.split("url=")[1].split()[0]
        self.key = (self.data / "admin.key").read_text().strip()
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=10
        )

    def post(self, path: str, body: Any = None, **kwargs: Any) -> httpx.Response:
        if body is not None:
            kwargs["json"] = body
        return self.http.post(f"/api/v1{path}", **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.http.get(f"/api/v1{path}", **kwargs)

    def experiment(self, id: str, **shape: Any) -> None:
        body = {"id": id, "arms": [{"id": "a"}, {"id": "b"}], **shape}
        self.post("/experiments", body).raise_for_status()
        self.post(f"/experiments/{id}/start").raise_for_status()

    def select(self, id: str, **request: Any) -> dict[str, Any]:
        answer = self.post("/agent/select", {"experiment_id": id, **request})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def await_status(self, id: str, **wanted: int) -> dict[str, Any]:
        """Return the status once its figures are at least `wanted`."""
        deadline = time.monotonic() + 10
        while True:
            status: dict[str, Any] = self.get(f"/experiments/{id}/status").json()["status"]
            if all(status[name] >= value for name, value in wanted.items()):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        self.http.close()
        if not self.process.stderr.closed:
            self.said += self.process.stderr.read()
            self.process.stderr.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    yield running
    assert running.stop() == 0, running.said


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module, with a few experiments running."""
    running = Server(tmp_path_factory.mktemp("shared") / "data")
    running.experiment("greeting")
    running.experiment("routing", context={"dimension": 3}, policy={"name": "LinThompson"})
    running.experiment("bounded", reward={"type": "bounded", "low": 0, "high": 10})
    running.experiment("over")
    running.post("/experiments/over/end").raise_for_status()
    running.experiment("resting")
    running.post("/experiments/resting/pause").raise_for_status()
    yield running
    assert running.stop() == 0, running.said
