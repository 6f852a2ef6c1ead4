from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import loopwright.app.embedded as embedded

from .conftest import Ran

Cli = Callable[..., Ran]


def labelled(path: Path, rows: int) -> Path:
    lines = ["who,x_0,x_1,right"]
    lines += [f"u{i},{1 - i % 2},{i % 2},{'ab'[i % 2]}" for i in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_full_information_stream_is_learned(cli: Cli, tmp_path: Path) -> None:
    path = labelled(tmp_path / "letters.csv", 120)
    arguments = ("replay", path, "--label", "right", "--features", "x_*", "--id", "who")
    ran = cli(*arguments, "--seed", "3", "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert (report["kind"], report["rows"], report["unmatched"]) == ("full-information", 120, 0)
    assert report["experiment_id"] == "letters"
    assert report["late_reward"]["mean"] > 0.8
    assert sum(arm["n"] for arm in report["arms"]) == 120


def test_the_same_seed_replays_the_same(cli: Cli, tmp_path: Path) -> None:
    path = labelled(tmp_path / "letters.csv", 40)
    arguments = ("replay", path, "--label", "right", "--features", "x_*", "--seed", "5", "--json")
    one, other = cli(*arguments).json, cli(*arguments).json
    for report in (one, other):
        del report["seconds"]
    assert one == other


def test_a_logged_stream_counts_matched_rows_only(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"{'ab'[i % 2]},{i % 2},0.5\n" for i in range(200))
    path.write_text("shown,clicked,p\n" + rows)
    columns = ("--arm", "shown", "--reward", "clicked", "--propensity", "p")
    ran = cli("replay", path, *columns, "--policy", "Uniform", "--seed", "1", "--json")
    report = ran.json
    assert report["matched"] + report["unmatched"] == report["rows"] == 200
    assert 70 < report["matched"] < 130
    assert report["log_reward"] == 0.5
    assert sum(arm["n"] for arm in report["arms"]) == report["matched"]
    assert {arm["arm_id"]: arm["mean"] for arm in report["arms"]} == {"a": 0.0, "b": 1.0}


def test_replay_says_what_it_passed_over(cli: Cli) -> None:
    ran = cli("replay", "open-bandit-bts", "--limit", "50", "--seed", "1")
    assert ran.code == 0
    assert "matched" in ran.out
    assert "unmatched" in ran.out
    assert "weighted by 1/propensity" in ran.out


def test_replay_keeps_its_result_where_it_is_told(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "kept"
    assert cli("replay", "digits", "--limit", "3", "--data", data).code == 0
    with embedded.open_loop(data) as loop:
        assert loop.experiments.status("digits").feedback == 3
    again = cli("replay", "digits", "--limit", "3", "--data", data)
    assert again.code == 2
    assert "already" in again.err
