from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import loopwright.app.embedded as embedded

from .conftest import Ran

Cli = Callable[..., Ran]


def findings(ran: Ran) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in ran.json["findings"]}


def test_doctor_finds_nothing_wrong_with_a_sound_directory(cli: Cli, data: Path) -> None:
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 0, ran.out
    verdicts = findings(ran)
    assert "failed" not in verdicts.values()
    assert {"event log", "durability", "segments", "catalog.db", "state.db", "clock"} <= set(
        verdicts
    )
    assert "event log" in cli("doctor", "--data", data).out


def test_doctor_runs_beside_a_server(cli: Cli, data: Path) -> None:
    with embedded.open_loop(data):
        ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 0, ran.out
    lock = next(f for f in ran.json["findings"] if f["check"] == "lock")
    assert str(os.getpid()) in lock["found"]


def test_doctor_finds_a_damaged_log_and_leaves_it_alone(cli: Cli, data: Path) -> None:
    log = data / "log.db"
    content = bytearray(log.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = os.urandom(4096)
    log.write_bytes(content)
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 1
    assert findings(ran)["event log"] == "failed"
    assert log.read_bytes() == content


def test_doctor_finds_a_secret_that_others_can_read(cli: Cli, data: Path) -> None:
    (data / "keys.json").chmod(0o644)
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 1
    assert findings(ran)["file modes"] == "failed"
