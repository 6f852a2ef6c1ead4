from __future__ import annotations

from statistics import fmean

import pytest

from loopwright.limiting.scenarios import NAIVE, SCENARIOS, play

WINDOWS = 240
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def goodput(scenario: str, controller: str, *, blind: bool = False) -> float:
    return play(BY_NAME[scenario], controller, seed=1, windows=WINDOWS, blind=blind).goodput


def test_there_are_ten_worlds_and_equal_seeds_meet_equal_ones() -> None:
    assert len(SCENARIOS) == 10
    one, other = (play(SCENARIOS[0], "guard + trim", seed=4, windows=60) for _ in range(2))
    assert one == other
    assert one != play(SCENARIOS[0], "guard + trim", seed=5, windows=60)


@pytest.mark.parametrize("scenario", BY_NAME)
def test_with_a_good_sensor_the_controller_never_loses_to_a_constant_rate(scenario: str) -> None:
    assert goodput(scenario, "guard + trim") >= goodput(scenario, "constant rate") - 0.02


@pytest.mark.parametrize("poison", ["poison down", "poison up"])
def test_poison_costs_the_controller_little_and_the_naive_rule_much(poison: str) -> None:
    assert goodput(poison, "guard + trim") >= 0.95 * goodput("steady", "guard + trim")
    assert goodput(poison, NAIVE) < 0.8 * goodput("steady", NAIVE)


def test_ratings_do_not_raise_goodput_over_the_guard_alone() -> None:
    both = fmean(goodput(name, "guard + trim") for name in BY_NAME)
    assert both == pytest.approx(fmean(goodput(name, "guard only") for name in BY_NAME), abs=0.02)


def test_a_guard_that_senses_overload_late_is_worse_than_a_tested_constant_rate() -> None:
    assert goodput("steady", "guard only", blind=True) < goodput("steady", "constant rate")
