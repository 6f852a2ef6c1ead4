"""Where the figures come from and what a firing leaves; whole runs beside a server are in tests/flow."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.conftest import Act, ScriptedServer

from .conftest import Ran

Cli = Callable[..., Ran]

GOOD = {
    "tenant_id": "default",
    "record_count": 100,
    "average_rating": 4.5,
    "thumbs_up": 0,
    "thumbs_down": 0,
}


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.otherwise = Act(200, GOOD)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command configures the logging of its process, which here is that of all tests."""
    for name in ("GITHUB_TOKEN", "GITHUB_REPO"):
        monkeypatch.delenv(name, raising=False)
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = (root.handlers[:], root.level, uvicorn.level)
    yield
    root.handlers[:], root.level, uvicorn.level = before


def firings(data: Path) -> list[dict[str, Any]]:
    path = data / "firings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_directory_that_no_server_holds_is_read(cli: Cli, data: Path) -> None:
    ran = cli("check-trigger", "--data", data, "--json")
    assert ran.code == 0, ran.err
    assert ran.json == {"fired": False, "reason": "insufficient_data (n=1)", "dispatched": None}


def test_a_firing_is_kept_with_its_figures_and_a_dry_run_keeps_nothing(
    cli: Cli, tmp_path: Path, scripted: ScriptedServer
) -> None:
    scripted.otherwise = Act(200, {**GOOD, "thumbs_up": 1, "thumbs_down": 3})
    asked = ("check-trigger", "--url", scripted.url, "--api-key", "k", "--data", tmp_path / "new")
    dry = cli(*asked, "--dry-run")
    assert (dry.code, dry.out[:7]) == (1, "fired: ")
    assert firings(tmp_path / "new") == []
    ran = cli(*asked, "--since-days", "3", "--json")
    assert (ran.code, ran.json["dispatched"]) == (1, "local")
    (kept,) = firings(tmp_path / "new")
    assert (kept["since_days"], kept["thumbs_down_rate"], kept["avg_rating"]) == (3, 0.75, 4.5)
    assert "critical" in ran.err
    assert "since_days=3" in scripted.seen[-1][1]


def test_a_tenant_is_asked_for_by_name_only_where_one_was_given(
    cli: Cli, tmp_path: Path, scripted: ScriptedServer
) -> None:
    asked = ("--url", scripted.url, "--api-key", "k", "--data", tmp_path)
    assert cli("check-trigger", *asked).out == "not fired: metrics_healthy\n"
    assert cli("check-trigger", "acme", *asked).code == 0
    assert ["tenant_id" in path for _, path, _, _ in scripted.seen] == [False, True]


def test_nowhere_to_ask_is_an_error_and_no_verdict(
    cli: Cli, tmp_path: Path, scripted: ScriptedServer
) -> None:
    url, scripted.otherwise = scripted.url, Act(hang_up=True)
    ran = cli("check-trigger", "--url", url, "--api-key", "k", "--data", tmp_path)
    assert ran.code == 4
    assert ran.out == ""


def test_a_server_that_is_named_goes_before_a_directory_that_lies_here(
    cli: Cli, data: Path, scripted: ScriptedServer
) -> None:
    ran = cli("check-trigger", "--url", scripted.url, "--api-key", "k", "--data", data)
    assert ran.out == "not fired: metrics_healthy\n"
    assert len(scripted.seen) == 1
