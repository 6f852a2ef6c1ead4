"""`loopwright rollouts`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.cli import run
from loopwright.cli.digits import server
from loopwright.client import Client

STAGES = """
[[stages]]
name = "canary"
share = 0.1
[stages.gate]
least_units = 50
[[stages.gate.guardrails]]
metric = "reward"
margin = 0.05
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("data"), port=0) as served:
        with Client(served.url, served.api_key) as client:
            for id in ("e", "f"):
                client.experiments.create(id, arms=["old", "new"], gate={"sticky": True})
        yield f"--data={served.key_file.parent}"


def begun(id: str, experiment: str, *more: str) -> list[str]:
    return ["rollouts", "begin", id, "--experiment", experiment, "--champion", "old", "--challenger", "new", *more]  # fmt: skip


def test_a_rollout_is_begun_shown_held_resumed_and_rolled_back(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(begun("r", "e", "--note", "shorter answers", data)) == 0
    assert "rollout r is running, canary at 5%" in capsys.readouterr().out
    assert run(["rollouts", "show", "r", data]) == 0
    shown = capsys.readouterr().out
    assert "the gate at this moment:" in shown
    assert "waits  guardrail/reward: reward: no value" in shown
    assert "shorter answers" in shown
    for order, state in ("hold", "held"), ("resume", "running"), ("roll-back", "rolled_back"):
        assert run(["rollouts", order, "r", "--reason", "so", data]) == 0
        assert f"rollout r is {state}" in capsys.readouterr().out
    assert run(["rollouts", "list", data]) == 0
    assert "taken back" in capsys.readouterr().out
    assert run(["rollouts", "approve", "r", data]) == 2
    assert "begin another one" in capsys.readouterr().err


def test_stages_come_from_a_file(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stages.toml"
    file.write_text(STAGES)
    assert run(begun("s", "f", "--stages", str(file), data, "--json")) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert (stage["share"], stage["gate"]["least_units"]) == (0.1, 50)
    assert run(["rollouts", "cancel", "s", data]) == 0
    capsys.readouterr()
    file.write_text("x = 1")
    assert run(begun("t", "f", "--stages", str(file), data)) == 2
    assert "has no list of stages" in capsys.readouterr().err
