from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import loopwright.app.embedded as embedded
from loopwright.cli import run


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Run commands in an empty folder and an environment without settings of ours."""
    for name in [name for name in os.environ if name.startswith("LOOPWRIGHT__")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str | Path) -> Ran:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return invoke


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one experiment, one decision and its reward."""
    data = tmp_path / "data"
    with embedded.open_loop(data) as loop:
        loop.experiments.create("greeting", arms=["short", "long"])
        selection = loop.agent.select("greeting")
        loop.agent.feedback(selection.request_id, 1)
    return data
