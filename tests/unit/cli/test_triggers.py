"""`loopwright triggers`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.cli import run
from loopwright.cli.digits import server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("data"), port=0) as served:
        yield f"--data={served.key_file.parent}"


def test_a_trigger_is_added_shown_disabled_and_removed(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = "https://train.example.com/hook"
    assert run(["triggers", "add", "t", "--webhook", hook, "--github", data]) == 0
    assert capsys.readouterr().out == "trigger t is enabled\n"
    assert run(["triggers", "show", "t", data]) == 0
    shown = capsys.readouterr().out
    assert "trigger t: retrain over 7 days, enabled" in shown
    assert f"starts webhook {hook}" in shown
    assert "unknown: insufficient_data (n=0)" in shown
    assert run(["triggers", "list", data]) == 0
    assert "github" in capsys.readouterr().out
    assert run(["triggers", "secret", "t", data]) == 0
    assert capsys.readouterr().out.startswith("whsec_")
    for order, state in ("disable", "disabled"), ("enable", "enabled"):
        assert run(["triggers", order, "t", data]) == 0
        assert capsys.readouterr().out == f"trigger t is {state}\n"
    assert run(["triggers", "firings", "--trigger", "t", data]) == 0
    assert run(["triggers", "deliveries", "--state", "dead", data]) == 0
    assert run(["triggers", "remove", "t", data]) == 0
    assert "trigger t is removed" in capsys.readouterr().out
    assert run(["triggers", "show", "t", data]) == 2
    assert run(["triggers", "send-again", "d", data]) == 2
    assert "there is no delivery 'd'" in capsys.readouterr().err


def test_a_condition_comes_from_a_file(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.toml"
    file.write_text(
        'window_days = 1.5\ncondition = { kind = "metric", metric = "satisfaction", below = 0.6 }\n'
        'actions = [{ kind = "github" }]\n'
    )
    assert run(["triggers", "add", "f", str(file), "--cool-down-s", "60", data, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["condition"]["metric"], made["window_days"]) == ("satisfaction", 1.5)
    assert (made["cool_down_s"], made["actions"]) == (60, [{"kind": "github"}])
    for content, said in (
        ("x = 1", "has a member that triggers lack"),
        ("x = ", "cannot read"),
        ('condition = { kind = "moon" }', "moon"),
    ):
        file.write_text(content)
        assert run(["triggers", "add", "g", str(file), data]) == 2
        assert said in capsys.readouterr().err
    assert run(["triggers", "add", "g", "--command", "nope", data]) == 2
    assert "no command 'nope'" in capsys.readouterr().err


def test_what_fired_is_listed(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["triggers", "list", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["id"] == "f"
    for name in ("firings", "deliveries"):
        assert run(["triggers", name, data, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"items": []}
