from __future__ import annotations

from collections.abc import Callable

import pytest

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
