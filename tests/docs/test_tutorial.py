"""What the tutorial shows a command to print is what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loopwright.cli import run

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial" / "first-loop.md").read_text("utf-8")


def test_the_replay_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.search(r"^\$ loopwright (replay open-bandit-random.*)\n((?:.+\n)+?)```", PAGE, re.M)
    assert shown is not None
    assert run(shown[1].split()) == 0
    printed = capsys.readouterr().out.splitlines()
    expected = shown[2].splitlines()
    assert [timeless(line) for line in printed[: len(expected)]] == [
        timeless(line) for line in expected
    ]


def timeless(line: str) -> str:
    return re.sub(r"\d+\.\d s$", "… s", line.rstrip())
