from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loopwright.cli.simulate_limits import page
from loopwright.limiting.scenarios import CONTROLLERS, NAIVE, table

from .conftest import Ran

Cli = Callable[..., Ran]
SHORT = ("simulate", "limits", "--runs", "1", "--hours", "0.1")


def test_the_controllers_are_compared_and_equal_seeds_give_equal_figures(cli: Cli) -> None:
    one, other = cli(*SHORT, "--json"), cli(*SHORT, "--json")
    assert one.code == 0, one.err
    assert one.json == other.json
    results = {result["controller"]: result for result in one.json["results"]}
    assert list(results) == [*CONTROLLERS, NAIVE]
    assert all(len(result["goodput"]) == 10 for result in results.values())
    constant = results["constant rate"]
    assert (constant["lowest_rate"], constant["highest_rate"]) == (80, 80)


def test_a_table_names_scenarios_ablations_and_the_sensor(cli: Cli) -> None:
    ran = cli(*SHORT, "--blind")
    assert ran.code == 0, ran.err
    for said in ("a blind overload sensor", "poison down", "guard only", "naive rule", "worst"):
        assert said in ran.out


def test_rates_are_drawn_into_one_page_that_loads_nothing(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "rates.html"
    assert str(path) in cli(*SHORT, "--html", path).out
    assert path.read_text("utf-8").count("<svg") == 10


def test_a_page_has_a_line_for_each_controller_and_no_address() -> None:
    drawn = page(table(runs=1, seed=0, windows=6, controllers=[*CONTROLLERS, NAIVE]))
    assert drawn.count("<polyline") == 60
    assert "http" not in drawn
    assert "src=" not in drawn


def test_lengths_that_simulate_nothing_are_refused(cli: Cli) -> None:
    for wrong in (("--hours", "0"), ("--hours", "nan"), ("--runs", "0")):
        ran = cli("simulate", "limits", *wrong)
        assert ran.code == 2
        assert "--runs is at least 1" in ran.err
