from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import (
    TooFew,
    bootstrap,
    clustered,
    difference,
    effective_size,
    mean,
    student_quantile,
    weighted_rate,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 10), (81, 263), (999, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_scipy(successes, n, level):
    found = wilson(successes, n, level=level)
    oracle = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_wilson_gives_the_textbook_interval():
    # Newcombe (1998), method 3, 81 of 263.
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_no_observation_gives_no_rate_but_an_error_that_says_so():
    with pytest.raises(TooFew, match="widen the period"):
        wilson(0, 0)
    with pytest.raises(Invalid, match="11 successes among 10"):
        wilson(11, 10)
    with pytest.raises(Invalid, match="confidence level"):
        wilson(1, 2, level=95)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 29, 30, 31, 500])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_student_quantiles_agree_with_scipy(level, degrees):
    oracle = stats.t.ppf((1 + level) / 2, degrees)
    assert student_quantile(level, degrees) == pytest.approx(oracle, rel=2e-6)


def test_the_mean_interval_is_the_t_interval():
    values = np.random.default_rng(1).normal(5, 2, size=12)
    found = mean(values)
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.n == pytest.approx(12)


def test_equal_weights_change_nothing_and_zero_weights_leave_out():
    values = np.array([1.0, 0.0, 1.0, 1.0, 99.0])
    weights = np.array([0.3, 0.3, 0.3, 0.3, 0.0])
    assert mean(values, weights=weights).low == pytest.approx(mean(values[:4]).low)
    plain = weighted_rate(values[:4], weights[:4])
    oracle = wilson(3, 4)
    assert (plain.low, plain.high) == pytest.approx((oracle.low, oracle.high))


def test_unequal_weights_are_worth_fewer_observations():
    assert effective_size(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_size(np.zeros(3)) == 0
    with pytest.raises(TooFew):
        weighted_rate(np.ones(3), np.zeros(3))


def test_events_of_one_user_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    taste = (rng.random(200) < 0.5).astype(np.float64)
    units = np.repeat(np.arange(200), 20)
    values = taste[units]
    by_user, by_event = clustered(values, units), mean(values)
    width = by_user.high - by_user.low
    assert width == pytest.approx((by_event.high - by_event.low) * np.sqrt(20), rel=0.02)
    assert by_user.n == pytest.approx(200)


def test_the_bootstrap_by_user_agrees_with_a_plain_one():
    rng = np.random.default_rng(3)
    units = rng.integers(60, size=400)
    values = rng.normal(units / 60, 1.0)
    found = bootstrap(values, units, rng=np.random.default_rng(4), draws=4000)
    means = []
    rows = [np.flatnonzero(units == unit) for unit in range(60)]
    for _ in range(4000):
        drawn = np.concatenate([rows[unit] for unit in rng.integers(60, size=60)])
        means.append(values[drawn].mean())
    oracle = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(oracle), abs=0.02)


def test_drawing_alike_users_together_gives_the_same_interval_as_one_by_one():
    rng = np.random.default_rng(5)
    units = np.repeat(np.arange(3000), 2)
    values = (rng.random(6000) < 0.8).astype(np.float64)
    together = bootstrap(values, units, rng=np.random.default_rng(6), draws=4000)
    # A hair of difference between users makes each a kind of its own.
    apart = bootstrap(values + units * 1e-9, units, rng=np.random.default_rng(7), draws=4000)
    assert (together.low, together.high) == pytest.approx((apart.low, apart.high), abs=1e-3)


def test_the_same_generator_gives_the_same_bootstrap():
    values, units = np.arange(50.0), np.arange(50) % 20
    first, again = (bootstrap(values, units, rng=np.random.default_rng(8)) for _ in range(2))
    assert first == again


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(200):
        taste = rng.beta(4, 2, size=150)
        units = np.repeat(np.arange(150), 4)
        found = bootstrap(
            (rng.random(600) < taste[units]).astype(np.float64), units, rng=rng, draws=300
        )
        covered += found.low <= 4 / 6 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_one_user_is_too_few():
    for interval in (
        lambda: bootstrap(np.ones(9), np.zeros(9, int), rng=np.random.default_rng(0)),
        lambda: clustered(np.ones(9), np.zeros(9, int)),
        lambda: mean(np.ones(1)),
    ):
        with pytest.raises(TooFew):
            interval()


def test_bad_columns_are_refused():
    with pytest.raises(Invalid, match="2 values and 1 weights"):
        mean(np.ones(2), weights=np.ones(1))
    with pytest.raises(Invalid, match="finite"):
        mean(np.array([1.0, np.nan]))
    with pytest.raises(Invalid, match="at least 0"):
        mean(np.ones(2), weights=np.array([1.0, -1.0]))


def test_the_difference_of_rates_gives_newcombes_worked_example():
    # Newcombe (1998), table II, method 10: 56 of 70 against 48 of 80.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert (found.estimate, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_intervals_of_different_levels_do_not_subtract():
    with pytest.raises(Invalid, match="do not subtract"):
        difference(wilson(1, 2, level=0.9), wilson(1, 2))


def test_a_t_interval_needs_a_degree_of_freedom():
    with pytest.raises(Invalid, match="0 degrees"):
        student_quantile(0.95, 0)
