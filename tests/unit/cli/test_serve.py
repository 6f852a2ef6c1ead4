"""The command's own decisions; servers that run are in tests/flow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import loopwright.app.embedded as embedded

from .conftest import Ran

Cli = Callable[..., Ran]


def test_an_option_goes_before_the_environment_and_the_environment_before_the_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loopwright.toml").write_text("[loopwright]\nport = 70001\n")
    assert "70001" in cli("serve").err
    monkeypatch.setenv("LOOPWRIGHT__PORT", "70002")
    assert "70002" in cli("serve").err
    ran = cli("serve", "--port", "70003")
    assert ran.code == 3
    assert "70003" in ran.err


def test_a_directory_that_another_process_serves_from_is_refused(cli: Cli, data: Path) -> None:
    with embedded.open_loop(data):
        ran = cli("serve", "--data", data, "--port", "0")
    assert ran.code == 3
    assert f"in use by process {os.getpid()}" in ran.err


def test_linear_algebra_gets_one_thread_unless_the_environment_says_otherwise(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    cli("serve", "--config", "missing.toml")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    cli("serve", "--config", "missing.toml")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
