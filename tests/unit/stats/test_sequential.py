from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.stats.sequential import (
    Moments,
    Wealth,
    difference,
    half_width,
    moments,
    sample_ratio,
    units_until,
)


def test_a_sequence_covers_the_truth_at_all_looks_at_once():
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(300):
        values = rng.normal(size=3000)
        sums, squares = np.cumsum(values), np.cumsum(values * values)
        for n in range(100, 3001, 50):
            mean = sums[n - 1] / n
            variance = squares[n - 1] / n - mean * mean
            if mean > half_width(n, variance, alpha=0.05):
                missed += 1
                break
    # 5 % of 300 and three standard errors.
    assert missed <= 15 + 3 * math.sqrt(300 * 0.05 * 0.95)


def test_the_width_is_the_formula_of_the_paper():
    n, variance, alpha, planned = 400, 0.09, 0.05, 5000
    rho2 = (-2 * math.log(0.1) + math.log(-2 * math.log(0.1) + 1)) / planned
    expected = math.sqrt(
        variance * 2 * (n * rho2 + 1) / (n * n * rho2) * math.log(1 + math.sqrt(n * rho2 + 1) / 0.1)
    )
    assert half_width(n, variance, alpha=alpha, planned=planned) == pytest.approx(expected)
    assert half_width(1, variance, alpha=alpha) == math.inf


def test_earlier_values_narrow_the_difference_and_leave_it_where_it_is():
    rng = np.random.default_rng(3)
    before = rng.normal(size=(2, 4000))
    after = before * 0.9 + rng.normal(scale=0.3, size=(2, 4000))
    after[1] += 0.05
    plain = difference(moments(after[0]), moments(after[1]), alpha=0.05)
    helped = difference(moments(after[0], before[0]), moments(after[1], before[1]), alpha=0.05)
    assert helped.theta == pytest.approx(0.9, abs=0.02)
    assert helped.estimate == pytest.approx(0.05, abs=0.03)
    assert helped.high - helped.low < 0.5 * (plain.high - plain.low)


def test_the_slope_on_earlier_values_is_that_of_least_squares_with_a_mean_per_arm():
    rng = np.random.default_rng(5)
    before, after = rng.normal(size=(2, 50)), rng.normal(size=(2, 50))
    design = np.zeros((100, 3))
    design[:50, 0] = design[50:, 1] = 1
    design[:, 2] = before.ravel()
    slopes = np.linalg.lstsq(design, after.ravel(), rcond=None)[0]
    found = difference(moments(after[0], before[0]), moments(after[1], before[1]), alpha=0.05)
    assert found.theta == pytest.approx(slopes[2])
    assert found.estimate == pytest.approx(slopes[1] - slopes[0])


def test_without_two_units_on_each_arm_nothing_is_bounded():
    found = difference(moments([1.0]), moments([0.0, 1.0]), alpha=0.05)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert difference(Moments(), Moments(), alpha=0.05).estimate == 0.0


@pytest.mark.parametrize("distance", [0.5, 0.1, 0.02])
def test_the_units_that_are_needed_are_the_first_with_a_width_below_the_distance(distance):
    needed = units_until(distance, 0.2, alpha=0.05)
    assert needed is not None
    assert half_width(needed, 0.2, alpha=0.05) <= distance < half_width(needed - 1, 0.2, alpha=0.05)


def test_no_number_of_units_shows_a_difference_of_nothing():
    assert units_until(0.0, 0.2, alpha=0.05) is None
    assert units_until(0.1, math.inf, alpha=0.05) is None
    assert units_until(1e-9, 0.2, alpha=0.05) is None


def test_moments_add_up():
    left, right = moments([1.0, 2.0], [0.5, 0.25]), moments([4.0], [1.0])
    assert left + right == moments([1.0, 2.0, 4.0], [0.5, 0.25, 1.0])


def test_moments_refuse_what_is_no_number():
    with pytest.raises(Invalid, match="finite"):
        moments([math.nan])
    with pytest.raises(Invalid, match="one per unit"):
        moments([1.0], [])


def test_a_bet_is_fair_when_the_mean_is_zero():
    # Every path of ten values of ±1, all as likely: the e-process has the mean 1, exactly.
    total = 0.0
    for path in itertools.product((-1.0, 1.0), repeat=10):
        wealth = Wealth(floor=1.0)
        for value in path:
            wealth = wealth.after(value)
        total += math.exp(wealth.log_e)
    assert total / 2**10 == pytest.approx(1.0)


def test_a_bet_refutes_a_positive_mean_and_remembers_that_it_did():
    rng = np.random.default_rng(1)
    wealth = Wealth(floor=1.0)
    for value in rng.uniform(-0.5, 1.0, size=500):
        wealth = wealth.after(float(value))
    assert wealth.rejects(0.001)
    for _ in range(200):
        wealth = wealth.after(-1.0)
    assert wealth.rejects(0.001)


def test_a_bet_refuses_what_could_make_it_negative():
    with pytest.raises(Invalid, match="floor"):
        Wealth(floor=0.5).after(-0.6)
    with pytest.raises(Invalid):
        Wealth(floor=0.5).after(math.nan)


def test_the_sample_ratio_process_has_the_mean_one_when_the_shares_are_right():
    shares = (0.3, 0.7)
    total = sum(
        math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) * math.exp(sample_ratio((k, 12 - k), shares))
        for k in range(13)
    )
    assert total == pytest.approx(1.0)


def test_the_sample_ratio_process_sees_units_that_get_lost():
    assert sample_ratio((5000, 5000), (0.5, 0.5)) < 0
    assert sample_ratio((5000, 4500), (0.5, 0.5)) > math.log(1000)


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.0, 0.0), (1.0,)], ids=["sum", "zero", "one"])
def test_shares_must_be_positive_and_sum_to_one(shares):
    with pytest.raises(Invalid, match="sum to 1"):
        sample_ratio((1, 1), shares)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, math.nan])
def test_alpha_is_a_small_probability(alpha):
    with pytest.raises(Invalid, match="alpha"):
        half_width(10, 1.0, alpha=alpha)
