"""What the probes answer."""

from __future__ import annotations

import msgspec
import pytest

from loopwright.app.health import Health
from loopwright.app.supervise import TaskHealth


@pytest.mark.parametrize(
    ("status", "serves"),
    [("alive", True), ("ready", True), ("degraded", True), ("unready", False)],
)
def test_only_an_unready_process_gets_no_traffic(status: str, serves: bool) -> None:
    assert msgspec.convert({"status": status}, Health).is_serving is serves


def test_a_process_that_is_well_says_nothing_of_tasks() -> None:
    assert msgspec.json.encode(Health(status="ready")) == b'{"status":"ready","reason":""}'


def test_failing_work_is_named() -> None:
    task = TaskHealth(
        task="sealing",
        is_vital=False,
        runs=3,
        failures=1,
        last_success_ms=None,
        failing_since_ms=5,
        reason="has failed",
    )
    said = msgspec.json.decode(msgspec.json.encode(Health(status="degraded", failing=(task,))))
    assert said["failing"][0]["task"] == "sealing"
