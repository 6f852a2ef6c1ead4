"""Background work under a disk that fails: one task stops no other, readiness names it, and it recovers."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.supervise import Supervisor, Task
from loopwright.app.wiring import Services
from loopwright.testing import ManualClock

FAULTS = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
    "broken": OSError(errno.EIO, "Input/output error"),
    "denied": PermissionError(errno.EACCES, "Permission denied"),
}


class Disk:
    """Stands before a task: while `fault` is set, the task finds it."""

    def __init__(self, task: Task) -> None:
        self.fault: Exception | None = None
        self._run = task.run

    def __call__(self) -> object:
        if self.fault is not None:
            raise self.fault
        return self._run()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = load_settings(data_dir=tmp_path, raw_copies=True)
    made = Services(settings, clock=ManualClock(), rng=random.Random(1))
    yield made
    made.close()


async def asked(services: Services, path: str) -> tuple[int, bytes]:
    front = application(services, asyncio.get_running_loop())
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": path, "method": "GET", "headers": [], "query_string": b""}
    await front({"raw_path": path.encode(), "root_path": "", **scope}, receive, send)
    body = b"".join(message.get("body", b"") for message in said)
    return said[0]["status"], body


def test_every_task_that_meets_a_failing_disk_is_named_and_recovers(services: Services) -> None:
    """Over every task there is and every error of a disk, in the real tasks of a real loop."""
    disks = {task.name: Disk(task) for task in services.supervisor.tasks}
    assert len(disks) >= 8
    supervisor = Supervisor(
        [structs.replace(task, run=disks[task.name]) for task in services.supervisor.tasks],
        clock=services.truth.clock,
    )
    services.supervisor = supervisor
    for name, disk in disks.items():
        for error in FAULTS.values():
            disk.fault = error
            for each in disks:
                supervisor.turn(each)
            [failing] = supervisor.failing()
            assert failing.task == name
            health = services.health()
            assert health.status == ("unready" if failing.is_vital else "degraded")
            assert name in health.reason
            assert str(error) in health.reason
            disk.fault = None
            supervisor.turn(name)
            assert services.health().status == "ready"


def test_the_probe_says_degraded_and_serves_on(services: Services) -> None:
    def full() -> None:
        raise FAULTS["full"]

    tasks = services.supervisor.tasks
    services.supervisor = Supervisor(
        [structs.replace(t, run=full if t.name == "projection" else t.run) for t in tasks],
        clock=services.truth.clock,
    )
    services.supervisor.turn("projection")
    status, body = asyncio.run(asked(services, "/health/ready"))
    found = msgspec.json.decode(body)
    assert (status, found["status"]) == (200, "degraded")
    assert [failing["task"] for failing in found["failing"]] == ["projection"]
    assert "No space left" in found["reason"]


def test_the_metrics_tell_of_every_task(services: Services) -> None:
    services.supervisor.turn("sealing")
    _, body = asyncio.run(asked(services, "/metrics"))
    for task in services.supervisor.tasks:
        assert f'loopwright_task_failures_total{{task="{task.name}"}} 0.0' in body.decode()
    wanted = 'loopwright_task_last_success_seconds{task="sealing"}'
    [line] = [at for at in body.decode().splitlines() if at.startswith(wanted)]
    assert float(line.split()[-1]) == services.truth.clock.now_ms() / 1000
