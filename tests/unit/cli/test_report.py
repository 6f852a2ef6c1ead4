"""Formats, files and exit codes; what a report says is in tests/flow and tests/unit/insights."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.cli.report import Asked

from .conftest import Ran

Cli = Callable[..., Ran]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.json", "{"),
        ("r.html", "<!doctype html>"),
        ("r.HTM", "<!doctype html>"),
        ("r.csv", "metric,verdict,value,low,high,direction,target,n\n"),
        ("r.txt", ""),
    ],
)
def test_the_ending_of_the_file_decides_what_is_written(
    cli: Cli, data: Path, tmp_path: Path, name: str, begins: str
) -> None:
    out = tmp_path / name
    ran = cli("report", "--data", data, "--out", out)
    assert (ran.code, ran.out) == (0, f"written to {out}\n"), ran.err
    assert out.read_text("utf-8").lower().startswith(begins)
    assert out.stat().st_size > 0


def test_an_ending_that_says_no_format_is_refused_unless_a_format_is_named(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.pdf"
    refused = cli("report", "--data", data, "--out", out)
    assert refused.code == 2
    assert ".html" in refused.err
    assert not out.exists()
    assert cli("report", "--data", data, "--out", out, "--format", "csv").code == 0
    assert next(csv.reader(out.read_text().splitlines()))[0] == "metric"


def test_a_report_of_nothing_says_so_and_misses_no_target(cli: Cli, data: Path) -> None:
    ran = cli("report", "nobody", "--data", data, "--check")
    assert ran.code == 0, ran.err
    assert ran.out


def test_only_what_was_given_is_asked_of_a_server() -> None:
    assert Asked().params() == {"trust": "on"}
    given = Asked(days=7, task="sql", trust=False).params()
    assert given == {"days": "7", "task": "sql", "trust": "off"}


def test_a_period_that_makes_no_sense_is_wrong_use(cli: Cli, data: Path) -> None:
    for period in (("--since", "soon"), ("--days", "0"), ("--tz", "Mars/Phobos", "--days", "3")):
        ran = cli("report", "--data", data, *period)
        assert (ran.code, ran.err.count("\n")) == (2, 1), (period, ran)
