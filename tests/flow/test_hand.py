"""Small things in the hand: commands that find their server, and typing errors that are not ignored."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import loopwright
from loopwright.app.settings import load_settings
from loopwright.cli import run
from loopwright.cli.digits import Served, server
from loopwright.client import Client
from loopwright.core.errors import Conflict, Invalid, LoopError, SettingsInvalid
from loopwright.core.reward import RewardSpec


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("data"), port=0) as found:
        yield found


def test_commands_find_the_server_of_a_directory_wherever_it_listens(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(served.key_file.parent)
    assert run(["experiments", "create", "--id", "x", "--arms", "a,b", "--data", data]) == 0
    assert run(["experiments", "list", "--data", data, "--json"]) == 0
    assert run(["keys", "list", "--data", data, "--json"]) == 0
    assert '"x"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/experiments?limits=5"),
        ("GET", "/api/v1/feedback/quality/default?day=3"),
        ("POST", "/api/v1/feedback?tenant_id=other"),
        ("POST", "/api/v1/agent/select?tenant_id=other"),
        ("POST", "/api/v1/agent/feedback?tenant_id=other"),
    ],
)
def test_a_query_parameter_that_nobody_understands_is_refused(
    served: Served, method: str, path: str
) -> None:
    answer = httpx.request(
        method,
        served.url + path,
        json={} if method == "POST" else None,
        headers={"authorization": f"Bearer {served.api_key}"},
        trust_env=False,
    )
    assert answer.status_code == 422
    assert "there is no query parameter" in answer.json()["detail"]


def test_no_route_of_the_api_ignores_a_query_parameter(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.api_key}"}
    with httpx.Client(base_url=served.url, headers=headers, trust_env=False) as http:
        routes = [
            (method, re.sub(r"\{[^}]*\}", "x", path))
            for path, item in http.get("/docs/openapi.json").json()["paths"].items()
            for method in item
            # Probes and scrapers add parameters of their own to these, which change nothing.
            if not path.startswith(("/health", "/metrics"))
        ]
        assert len(routes) > 50
        ignored = [
            route
            for method, path in routes
            if (route := f"{method} {path}")
            and "there is no query parameter"
            not in http.request(
                method, f"{path}?surprise=1", json=None if method in ("get", "delete") else {}
            ).text
        ]
    assert ignored == []


def test_who_only_uses_the_bandit_is_not_alarmed_by_the_report(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        for n in range(60):
            loop.agent.feedback(loop.agent.select("greeting").request_id, n % 2)
        report = loop.feedback.quality()
    assert [finding for finding in report.findings if finding.level != "note"] == []


def test_an_ended_experiment_is_not_told_to_start_again(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        loop.experiments.end("greeting")
        with pytest.raises(LoopError, match="an end is for good: create a new experiment"):
            loop.agent.select("greeting")


def test_experiments_of_a_directory_without_a_server_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        loop.agent.feedback(loop.agent.select("greeting").request_id, 1)
    assert run(["experiments", "list", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "greeting"
    assert run(["experiments", "status", "greeting", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"]["feedback"] == 1


def test_a_demo_on_a_taken_port_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["demo", "--port", port, "--data", str(tmp_path), "--rounds", "1"]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err


def test_a_command_with_a_typing_error_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["servee"]) == 2
    said = capsys.readouterr().err
    assert said == 'error: unknown command "servee". Did you mean "serve"? See --help.\n'


def test_a_report_is_written_in_the_format_of_its_ending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    loopwright.open(data).close()
    for name, begins in (("r.csv", "metric,"), ("r.json", "{"), ("r.html", "<!")):
        out = tmp_path / name
        assert run(["report", "--data", str(data), "--out", str(out)]) == 0
        assert out.read_text("utf-8").lstrip().startswith(begins), name
    assert run(["report", "--data", str(data), "--out", str(tmp_path / "r.xlsx")]) == 2
    assert "use .txt, .json, .html, .htm, .csv" in capsys.readouterr().err


def test_a_misspelt_setting_is_refused_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "loopwright.toml"
    for text, said in (
        ("prot = 1", "outside of a table"),
        ("[loopwright]\nprot = 1", "did you mean 'port'"),
    ):
        config.write_text(text)
        with pytest.raises(SettingsInvalid, match=said):
            load_settings(config)
    monkeypatch.setenv("LOOPWRIGHT__PROT", "1")
    with pytest.raises(SettingsInvalid, match="did you mean LOOPWRIGHT__PORT"):
        load_settings()


def test_files_that_begin_with_a_byte_order_mark_are_read(served: Served, tmp_path: Path) -> None:
    config = tmp_path / "loopwright.toml"
    config.write_bytes(b"\xef\xbb\xbf[loopwright]\nport = 9000\n")
    assert load_settings(config).port == 9000
    data = str(served.key_file.parent)
    for name, body in (
        ("j.json", '{"id": "bom-j", "arms": [{"id": "a"}, {"id": "b"}]}'),
        ("t.toml", 'id = "bom-t"\narms = [{id = "a"}, {id = "b"}]'),
    ):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + body.encode())
        assert run(["experiments", "create", str(path), "--data", data]) == 0


def test_creating_what_is_there_gives_it_back_through_both_doors(
    served: Served, tmp_path: Path
) -> None:
    with loopwright.open(tmp_path) as loop:
        for _ in range(2):
            loop.experiments.create("again", arms=["a", "b"], exists_ok=True)
        loop.experiments.pause("again")
        assert loop.experiments.create("again", arms=["a"], exists_ok=True).state == "paused"
        with pytest.raises(Conflict, match="already an experiment 'again'"):
            loop.experiments.create("again", arms=["a", "b"])
    with Client(served.url, served.api_key) as client:
        drafted = client.experiments.create("again", arms=["a", "b"], start=False)
        assert drafted.state == "draft"
        for _ in range(2):
            found = client.experiments.create("again", arms=["a"], exists_ok=True)
            assert (found.state, len(found.arms)) == ("running", 2)
        with pytest.raises(Conflict, match="already an experiment 'again'"):
            client.experiments.create("again", arms=["a", "b"])
        with pytest.raises(Invalid):
            client.experiments.create("", arms=["a"], exists_ok=True)


def test_a_mean_of_equal_rewards_is_that_reward(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        stars = RewardSpec(type="bounded", low=0, high=5)
        loop.experiments.create("stars", arms=["a", "b"], reward=stars)
        for _ in range(6):
            loop.agent.feedback(loop.agent.select("stars").request_id, reward=2)
        assert loop.wait_until_learned()
        means = {arm.mean for arm in loop.experiments.status("stars").arms if arm.n}
    assert means == {2.0}
