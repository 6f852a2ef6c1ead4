from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import TooFew, clustered, difference
from loopwright.stats.trend import changes, regressions, running_half_width, slope


def test_the_slope_is_that_of_ordinary_regression():
    rng = np.random.default_rng(1)
    times = np.arange(20.0)
    values = 0.8 + 0.004 * times + rng.normal(0, 0.02, 20)
    found = slope(times, values, weights=np.ones(20))
    oracle = stats.linregress(times, values)
    half = stats.t.ppf(0.975, 18) * oracle.stderr
    assert found.estimate == pytest.approx(oracle.slope)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-5)


def test_a_day_with_twice_the_data_counts_like_two_days():
    times, values = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.7, 0.6, 0.9])
    doubled = slope(times, values, weights=np.array([1.0, 2.0, 1.0, 1.0]))
    twice = slope(np.insert(times, 1, 1.0), np.insert(values, 1, 0.7), weights=np.ones(5))
    assert doubled.estimate == pytest.approx(twice.estimate)


def test_two_periods_make_no_trend():
    with pytest.raises(TooFew):
        slope(np.arange(3.0), np.arange(3.0), weights=np.array([1.0, 1.0, 0.0]))


def test_a_step_is_found_where_it_happened():
    rng = np.random.default_rng(2)
    n = np.full(40, 500.0)
    rates = np.where(np.arange(40) < 25, 0.85, 0.80)
    seen = rng.binomial(500, rates) / 500
    (found,) = changes(seen, weights=n, rng=rng)
    assert abs(found.at - 25) <= 1
    assert found.p < 0.01
    assert (found.before, found.after) == pytest.approx((0.85, 0.80), abs=0.01)


def test_two_steps_are_both_found_and_empty_days_do_not_count():
    rng = np.random.default_rng(3)
    rates = np.repeat([0.7, 0.8, 0.65], 15)
    seen, n = rng.binomial(800, rates) / 800, np.full(45, 800.0)
    seen[20], n[20] = 0.0, 0.0
    found = changes(seen, weights=n, rng=rng)
    assert [change.at for change in found] == pytest.approx([15, 30], abs=1)


def test_without_a_change_one_is_claimed_about_as_seldom_as_promised():
    rng = np.random.default_rng(4)
    claimed = 0
    for _ in range(200):
        n = rng.integers(50, 400, size=20).astype(np.float64)
        seen = rng.binomial(n.astype(int), 0.8) / n
        claimed += bool(changes(seen, weights=n, rng=rng, permutations=199))
    assert claimed / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_the_p_value_is_that_of_all_orderings():
    values = np.array([0.1, 0.15, 0.12, 0.5, 0.4, 0.45])

    def best(order: tuple[float, ...]) -> float:
        means = (np.mean(order[:3]), np.mean(order[3:]))
        return float((means[0] - means[1]) ** 2)

    orders = list(itertools.permutations(values))
    exact = sum(best(order) >= best(tuple(values)) - 1e-12 for order in orders) / len(orders)
    (found,) = changes(
        values, weights=np.ones(6), rng=np.random.default_rng(5), alpha=0.5, permutations=4999
    )
    assert found.p == pytest.approx(exact, abs=0.015)


def test_a_constant_series_never_changed():
    assert changes(np.full(30, 0.5), weights=np.ones(30), rng=np.random.default_rng(6)) == ()


def test_too_few_permutations_for_alpha_are_refused():
    with pytest.raises(Invalid, match="permutations"):
        changes(
            np.ones(9), weights=np.ones(9), rng=np.random.default_rng(0), alpha=0.01, permutations=9
        )


def rows(seed: int, *, worse_by: float, share: float = 0.2, count: int = 6000, users: int = 10**6):
    """Return versions, users and ratings of two versions, 85 % satisfied with the first."""
    rng = np.random.default_rng(seed)
    unit = rng.integers(users, size=count)
    version = (np.random.default_rng(seed + 1).random(users) < share).astype(np.int64)[unit]
    rate = np.where(version == 1, 0.85 - worse_by, 0.85)
    return version, unit, (rng.random(count) < rate).astype(np.float64)


def test_a_bad_version_is_shown_before_the_average_moves():
    steady = rows(1, worse_by=0.0)[2]
    version, unit, value = rows(2, worse_by=0.1)
    (found,) = regressions(version, unit, value, baseline=0)
    assert found.verdict == "regressed"
    until = slice(0, found.detected_at + 1)
    average = clustered(value[until], np.unique(unit[until], return_inverse=True)[1])
    before = clustered(steady, np.arange(len(steady)))
    moved = difference(average, before)
    assert moved.low < 0 < moved.high  # at that moment the average still looks as it did


def test_an_equal_version_is_seldom_blamed_however_often_one_looks():
    blamed = sum(
        regressions(*rows(seed, worse_by=0.0, share=0.5, count=3000), baseline=0)[0].verdict
        == "regressed"
        for seed in range(80)
    )
    assert blamed / 80 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)


def test_users_who_repeat_do_not_make_an_equal_version_look_bad():
    rng = np.random.default_rng(7)
    blamed = 0
    for _ in range(100):
        taste = np.where(rng.random(150) < 0.5, 0.95, 0.05)
        side = (rng.random(150) < 0.5).astype(np.int64)
        unit = rng.integers(150, size=3000)
        value = (rng.random(3000) < taste[unit]).astype(np.float64)
        (found,) = regressions(side[unit], unit, value, baseline=0, least_units=30)
        blamed += found.verdict == "regressed"
    assert blamed / 100 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_the_comparison_is_that_of_unit_means_at_the_last_row():
    version, unit, value = rows(8, worse_by=0.05, count=2000, users=400)
    (found,) = regressions(version, unit, value, baseline=0)
    first = int(np.argmax(version == 1))
    means = [
        np.array(
            [
                value[first:][(unit[first:] == u) & (version[first:] == side)].mean()
                for u in np.unique(unit[first:][version[first:] == side])
            ]
        )
        for side in (0, 1)
    ]
    assert (found.baseline_units, found.version_units) == (len(means[0]), len(means[1]))
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(means[1].mean() - means[0].mean())
    size = len(means[0]) + len(means[1])
    variance = size * sum(m.var(ddof=1) / len(m) for m in means)
    half = running_half_width(np.array([variance]), np.array([size]), alpha=0.05, horizon=5000)
    assert found.difference.high - found.difference.estimate == pytest.approx(half[0])


def test_what_came_before_the_version_is_not_held_against_it():
    good, bad = np.ones(500), (np.arange(800) % 2).astype(np.float64)
    version = np.concatenate((np.zeros(500), np.arange(800) // 2 % 2)).astype(np.int64)
    (found,) = regressions(version, np.arange(1300), np.append(good, bad), baseline=0)
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(0.0, abs=0.01)
    assert found.verdict == "not regressed"


def test_where_lower_is_better_a_higher_rate_is_the_regression():
    version, unit, value = rows(9, worse_by=0.15, share=0.5)
    (found,) = regressions(version, unit, 1 - value, baseline=0, higher_is_better=False)
    assert found.verdict == "regressed"
    assert found.difference is not None
    assert found.difference.estimate > 0
    (other,) = regressions(version, unit, value, baseline=0, higher_is_better=False)
    assert other.verdict == "not regressed"


def test_a_margin_forgives_what_lies_within_it():
    version, unit, value = rows(10, worse_by=0.1, share=0.5)
    (found,) = regressions(version, unit, value, baseline=0, margin=0.2)
    assert found.verdict == "not regressed"


def test_few_units_give_no_verdict_and_no_version_gives_no_comparison():
    version, unit, value = rows(11, worse_by=0.8, count=60)
    (found,) = regressions(version, unit, value, baseline=0)
    assert (found.verdict, found.difference, found.detected_at) == ("too few units", None, -1)
    assert regressions(np.zeros(5, int), np.arange(5), np.ones(5), baseline=0) == ()
    with pytest.raises(Invalid, match="one per row"):
        regressions(np.zeros(5, int), np.arange(4), np.ones(5), baseline=0)
