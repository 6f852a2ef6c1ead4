from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli import run
from loopwright.cli.digits import Served, server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("served") / "data", port=0) as served:
        yield served


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


class Cli:
    """Runs commands in this process: a fresh interpreter for each would take most of the time."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Ran:
        code = run([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        return Ran(code, out, err)

    def told(self, *arguments: str | Path) -> Any:
        ran = self(*arguments, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
def cli(served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("LOOPWRIGHT__URL", served.url)
    monkeypatch.setenv("LOOPWRIGHT__API_KEY", served.api_key)
    return Cli(capsys)


def test_an_experiment_is_made_from_a_file_shown_and_ended(cli: Cli, tmp_path: Path) -> None:
    definition = tmp_path / "greeting.toml"
    definition.write_text(
        'id = "greeting"\n[[arms]]\nid = "short"\npayload = "Hi"\n[[arms]]\nid = "long"\n'
        '[policy]\nname = "UCB1Tuned"\n[reward]\ntype = "bounded"\nlow = 0\nhigh = 5\n'
    )
    created = cli.told("experiments", "create", definition)
    assert (created["state"], created["reward"]["high"]) == ("running", 5)
    report = cli.told("experiments", "status", "greeting")
    assert report["status"]["policy"] == "UCB1Tuned"
    shown = cli("experiments", "show", "greeting")
    assert "short" in shown.out
    assert "greeting is running" in shown.out
    assert cli.told("experiments", "pause", "greeting")["state"] == "paused"
    assert cli.told("experiments", "resume", "greeting")["state"] == "running"
    assert cli.told("experiments", "end", "greeting")["state"] == "ended"
    listed = cli.told("experiments", "list")
    assert [one["id"] for one in listed] == ["greeting"]
    assert "greeting" in cli("experiments", "list").out


def test_arms_are_added_and_changed(cli: Cli) -> None:
    cli.told("experiments", "create", "--id", "arms", "--arms", "a,b", "--no-start")
    grown = cli.told("experiments", "arms", "add", "arms", "c", "--payload", '{"t": 1}')
    assert grown["arms"][2]["payload"] == {"t": 1}
    changed = cli.told("experiments", "arms", "set", "arms", "a", "--state", "disabled")
    assert changed["arms"][0]["state"] == "disabled"
    assert cli.told("experiments", "start", "arms")["state"] == "running"


def test_a_refusal_is_one_sentence_and_exit_code_2(cli: Cli) -> None:
    ran = cli("experiments", "status", "nowhere")
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err


def test_a_wrong_key_is_exit_code_3_and_no_server_is_4(cli: Cli, served: Served) -> None:
    wrong = cli("experiments", "list", "--url", served.url, "--api-key", "lw_wrong")
    assert wrong.code == 3
    nobody = cli("experiments", "list", "--url", "http://127.0.0.1:9", "--api-key", "x")
    assert nobody.code == 4
    assert "is the server running" in nobody.err


def test_keys_over_http(cli: Cli) -> None:
    issued = cli.told("keys", "create", "--scope", "select", "--scope", "feedback")
    rotated = cli.told("keys", "rotate", issued["key"]["id"], "--grace-s", "60")
    assert rotated["secret"] != issued["secret"]
    assert cli.told("keys", "revoke", issued["key"]["id"])["revoked_at_ms"]
    assert cli("keys", "list").code == 0
    assert cli.told("keys", "signing", "rotate")["active"] == 2


def test_the_local_key_is_found_in_the_data_directory(
    cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPWRIGHT__API_KEY")
    assert cli("keys", "list", "--data", served.key_file.parent).code == 0
    assert cli("keys", "list").code == 3


def test_the_demo_learns_and_says_so(cli: Cli, tmp_path: Path) -> None:
    figures = cli.told("demo", "--exit", "--rounds", "3000", "--port", "0", "--data", tmp_path)
    assert figures["learned"]
    assert figures["rounds"] == 3000
    assert figures["reward_last"] > 0.8 > figures["reward_first"] > figures["uniform"]
    assert figures["delay_p50_ms"] > 0


def test_a_demo_that_did_not_learn_fails(cli: Cli, tmp_path: Path) -> None:
    ran = cli("demo", "--exit", "--rounds", "20", "--port", "0", "--data", tmp_path)
    assert ran.code == 1
    assert "20 of 20" in ran.out
    assert "regret" in ran.out


def test_the_demo_says_why_its_server_did_not_start(cli: Cli, served: Served) -> None:
    ran = cli("demo", "--exit", "--port", "0", "--data", served.key_file.parent)
    assert ran.code == 3
    assert "in use by process" in ran.err


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_keeps_serving_until_it_is_stopped(
    cli: Cli, tmp_path: Path, by: signal.Signals
) -> None:
    arguments = ["demo", "--rounds", "10", "--port", "0", "--data", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "loopwright.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "until Ctrl-C" in line:
            break
    if by == signal.SIGINT:  # a terminal sends Ctrl-C to the whole group
        os.killpg(process.pid, by)
    else:
        process.send_signal(by)
    assert process.wait(30) == 0
    process.stdout.close()
    assert any("/docs" in line for line in lines)
    checked = cli.told("doctor", "--data", tmp_path)
    assert "free" in [found["found"] for found in checked["findings"]]
