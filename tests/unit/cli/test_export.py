"""The command's own decisions; what it writes is tested on real directories and servers in tests/flow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loopwright

Cli = Callable[..., Any]


def test_a_file_gets_its_name_when_it_is_whole_and_nothing_is_left_of_a_failure(
    cli: Cli, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    loopwright.open(data).close()
    out = tmp_path / "out" / "d.jsonl"
    out.parent.mkdir()
    out.write_text("of before")

    wrong = cli("export", "decisions", "--out", str(out), "--data", str(data), "--since", "soon")
    assert wrong.code == 2
    assert out.read_text() == "of before"
    right = cli("export", "decisions", "--out", str(out), "--data", str(data))
    assert (right.code, out.read_text()) == (0, "")
    assert [path.name for path in out.parent.iterdir()] == ["d.jsonl"]


def test_a_table_that_there_is_not_is_refused_with_the_choices(cli: Cli) -> None:
    refused = cli("export", "consents")
    assert refused.code == 2
    assert "decisions" in refused.err


def test_lines_go_to_standard_output_when_no_file_is_named(cli: Cli, tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("x", arms=["a", "b"])
        loop.agent.select("x")
    ran = cli("export", "decisions", "--data", str(tmp_path))
    assert [json.loads(line)["experiment_id"] for line in ran.out.splitlines()] == ["x"]


def test_rows_after_a_cursor_are_those_that_came_since(cli: Cli, tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("x", arms=["a", "b"])
        for _ in range(5):
            loop.agent.select("x")
    data = ("--data", str(tmp_path), "--page", "2")
    whole = cli("export", "decisions", *data).out.splitlines()
    third = json.loads(whole[2])["log_offset"]
    assert cli("export", "decisions", "--cursor", str(third), *data).out.splitlines() == whole[3:]
