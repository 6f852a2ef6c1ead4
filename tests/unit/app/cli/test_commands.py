from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import loopwright.app.embedded as embedded

from .conftest import Ran

Cli = Callable[..., Ran]


def test_simulate_finds_the_best_arm_and_repeats_with_the_same_seed(cli: Cli) -> None:
    arguments = ("simulate", "--arms", "0.1,0.9", "--rounds", "400", "--runs", "2", "--json")
    choice = ("--policy", "BetaThompson", "--policy", "Uniform")
    one, other = cli(*arguments, *choice), cli(*arguments, *choice)
    assert one.json == other.json
    thompson, uniform = one.json["results"]
    assert thompson["policy"] == "BetaThompson"
    assert thompson["best_share"] > 0.9 > 0.7 > uniform["best_share"]
    assert thompson["regret"] < uniform["regret"] / 4
    assert uniform["regret"] == pytest.approx(400 * 0.4, rel=0.15)


def test_a_delay_costs_regret(cli: Cli) -> None:
    arguments = ("simulate", "--arms", "0.2,0.8", "--rounds", "600", "--policy", "BetaThompson")
    now = cli(*arguments, "--json").json["results"][0]
    late = cli(*arguments, "--delay", "200", "--json").json["results"][0]
    assert late["regret"] > now["regret"]


def test_simulate_draws_a_table(cli: Cli) -> None:
    ran = cli("simulate", "--arms", "0.1,0.9", "--rounds", "100", "--policy", "BetaThompson")
    assert ran.code == 0
    assert "BetaThompson" in ran.out
    assert "regret" in ran.out


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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    with embedded.open_loop(data) as loop:
        loop.experiments.create("greeting", arms=["short", "long"])
        selection = loop.agent.select("greeting")
        loop.agent.feedback(selection.request_id, 1)
    return data


def findings(ran: Ran) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in ran.json["findings"]}


def test_doctor_finds_nothing_wrong_with_a_sound_directory(cli: Cli, data: Path) -> None:
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 0, ran.out
    verdicts = findings(ran)
    assert "failed" not in verdicts.values()
    assert {"event log", "durability", "segments", "catalog.db", "state.db", "clock"} <= set(
        verdicts
    )
    assert "event log" in cli("doctor", "--data", data).out


def test_doctor_runs_beside_a_server(cli: Cli, data: Path) -> None:
    with embedded.open_loop(data):
        ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 0, ran.out
    lock = next(f for f in ran.json["findings"] if f["check"] == "lock")
    assert str(os.getpid()) in lock["found"]


def test_doctor_finds_a_damaged_log_and_leaves_it_alone(cli: Cli, data: Path) -> None:
    log = data / "log.db"
    content = bytearray(log.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = os.urandom(4096)
    log.write_bytes(content)
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 1
    assert findings(ran)["event log"] == "failed"
    assert log.read_bytes() == content


def test_doctor_finds_a_secret_that_others_can_read(cli: Cli, data: Path) -> None:
    (data / "keys.json").chmod(0o644)
    ran = cli("doctor", "--data", data, "--json")
    assert ran.code == 1
    assert findings(ran)["file modes"] == "failed"


def test_keys_are_made_listed_rotated_and_revoked_without_a_server(cli: Cli, data: Path) -> None:
    local = ("--local", "--data", data, "--json")
    issued = cli("keys", "create", "--scope", "select", "--name", "shop", *local).json
    assert issued["secret"].startswith("lw_")
    key_id = issued["key"]["id"]
    listed = {key["id"]: key for key in cli("keys", "list", *local).json}
    assert listed[key_id]["name"] == "shop"
    assert issued["secret"] not in str(listed)
    rotated = cli("keys", "rotate", key_id, *local).json
    assert rotated["secret"] != issued["secret"]
    assert cli("keys", "revoke", key_id, *local).json["revoked_at_ms"]
    ring = cli("keys", "signing", "rotate", *local).json
    assert len(ring["ids"]) == 2


def test_a_scope_that_does_not_exist_is_refused(cli: Cli, data: Path) -> None:
    ran = cli("keys", "create", "--scope", "fly", "--local", "--data", data)
    assert ran.code == 2
    assert "fly" in ran.err


def test_local_keys_need_the_server_stopped(cli: Cli, data: Path) -> None:
    with embedded.open_loop(data):
        ran = cli("keys", "list", "--local", "--data", data)
    assert ran.code == 3
    assert "in use by process" in ran.err
