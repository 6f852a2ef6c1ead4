from __future__ import annotations

import math

import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.stats.drift import MISSING, OTHER, Adwin, adwin, psi, psi_categorical


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_psi_is_the_sum_over_quantile_bins():
    reference, current = rng(1).normal(size=5000), rng(2).normal(0.7, 1.2, size=3000)
    found = psi(reference, current, rng=rng())
    edges = np.sort(reference)[[int(4999 * k / 10) for k in range(1, 10)]]
    total = 0.0
    for low, high in zip([-math.inf, *edges], [*edges, math.inf], strict=True):
        p = np.mean((reference > low) & (reference <= high))
        q = np.mean((current > low) & (current <= high))
        total += (q - p) * math.log(q / p)
    assert found.value == pytest.approx(total)
    assert found.verdict == "large"


def test_psi_of_a_known_table():
    # Shares .5/.5 against .8/.2: (.3)(ln 1.6) + (-.3)(ln .4) = .3 ln 4.
    reference, current = ["a"] * 500 + ["b"] * 500, ["a"] * 800 + ["b"] * 200
    found = psi_categorical(reference, current, rng=rng())
    assert found.value == pytest.approx(0.3 * math.log(4))
    assert set(found.bins) == {("a", 0.5, 0.8), ("b", 0.5, 0.2)}


def test_samples_of_one_source_are_stable_even_when_psi_passes_the_rule_of_thumb():
    values = [
        psi(rng(k).normal(size=120), rng(k + 999).normal(size=120), rng=rng(k)) for k in range(60)
    ]
    assert sum(found.value > 0.1 for found in values) > 30  # the rule of thumb alone cries wolf
    assert sum(found.verdict != "stable" for found in values) <= 8


def test_the_noise_is_what_one_in_twenty_comparisons_without_drift_reaches():
    values = [
        psi(rng(k).normal(size=400), rng(k + 999).normal(size=400), rng=rng(k)) for k in range(150)
    ]
    above = np.mean([found.value > found.noise for found in values])
    assert 0.01 <= above <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_a_category_that_vanishes_or_appears_is_large_but_finite():
    found = psi_categorical(["a", "b"] * 500, ["a", "c"] * 500, rng=rng())
    assert math.isfinite(found.value)
    assert found.verdict == "large"


def test_missing_values_are_a_bin_of_their_own():
    whole = rng(3).normal(size=1000)
    holed = np.where(np.arange(1000) % 2, whole, np.nan)
    found = psi(whole, holed, rng=rng())
    assert found.bins[-1] == (MISSING, 0.0, 0.5)
    assert found.verdict == "large"
    assert (MISSING, 0.5, 0.0) in psi_categorical([None, "a"] * 100, ["a"] * 200, rng=rng()).bins


def test_infinite_values_fall_into_the_outer_bins():
    reference = np.append(rng(4).normal(size=1000), [math.inf, -math.inf])
    found = psi(reference, reference, rng=rng())
    assert found.value == 0
    assert sum(share for _, share, _ in found.bins) == pytest.approx(1)


def test_a_constant_column_that_starts_to_move_is_drift():
    found = psi(np.full(500, 3.0), np.full(500, 4.0), rng=rng())
    assert found.verdict == "large"
    assert psi(np.full(500, 3.0), np.full(500, 3.0), rng=rng()).verdict == "stable"


def test_rare_categories_are_counted_together():
    names = [f"name-{k}" for k in range(300)]
    found = psi_categorical(names, names[::-1], rng=rng(), most=20)
    assert len(found.bins) == 21
    assert found.bins[-1][0] == OTHER


def test_too_few_values_give_no_verdict():
    assert psi(np.arange(50.0), np.arange(500.0), rng=rng()).verdict == "too few"
    empty = psi(np.arange(500.0), np.zeros(0), rng=rng())
    assert (empty.verdict, empty.current_n) == ("too few", 0)
    with pytest.raises(Invalid, match="at least 2"):
        psi(np.arange(500.0), np.arange(500.0), rng=rng(), bins=1)


def test_adwin_raises_no_alarm_over_a_steady_rate():
    alarms = [adwin((rng(k).random(4000) < 0.85).astype(float)) for k in range(15)]
    assert sum(map(len, alarms)) <= 1  # delta is .002 a stream


def test_adwin_notices_a_fall_of_seven_points_within_a_thousand_values():
    delays = []
    for k in range(15):
        rates = np.where(np.arange(8000) < 4000, 0.85, 0.78)
        alarms = adwin((rng(k).random(8000) < rates).astype(float))
        after = [at for at in alarms if at >= 4000]
        assert after
        delays.append(after[0] - 4000)
    assert np.median(delays) <= 1000


def test_adwin_forgets_what_came_before_the_change():
    window = Adwin()
    for value in [1.0] * 1000 + [0.0] * 1000:
        window.add(value)
    assert window.mean == pytest.approx(0.0, abs=0.02)
    assert 950 <= window.width <= 1050


def test_adwins_buckets_hold_the_mean_and_spread_of_the_window_exactly():
    values = rng(5).random(3000).tolist()
    window = Adwin(delta=1e-9)
    for value in values:
        window.add(value)
    kept = values[-window.width :]
    assert window.width == 3000
    assert window.mean == pytest.approx(np.mean(kept))
    assert window.variance == pytest.approx(np.var(kept))


def test_adwin_finds_what_trying_every_split_finds():
    """The brute-force window of the paper, all splits at every look, against the buckets."""
    rates = np.where(np.arange(3000) < 1500, 0.3, 0.6)
    values = (rng(6).random(3000) < rates).astype(float)

    def brute() -> int:
        kept: list[float] = []
        for at, value in enumerate(values):
            kept.append(value)
            n = len(kept)
            if (at + 1) % 32 or n < 10:
                continue
            sums, sizes = np.cumsum(kept)[4 : n - 5], np.arange(5, n - 4)
            total, variance = sum(kept), np.var(kept)
            log_term = math.log(2 * math.log(n) / 0.002)
            per = 1 / sizes + 1 / (n - sizes)
            bound = np.sqrt(2 * per * variance * log_term) + 2 / 3 * per * log_term
            if (np.abs(sums / sizes - (total - sums) / (n - sizes)) > bound).any():
                return at
        return -1

    exact = brute()
    assert exact > 1500
    assert exact <= adwin(values)[0] <= exact + 64


def test_adwin_works_on_any_range_and_refuses_what_lies_outside():
    stars = Adwin(low=1, high=5)
    assert any(stars.add(value) for value in [5.0] * 300 + [1.0] * 300)
    with pytest.raises(Invalid, match="takes 1"):
        stars.add(0.0)
    with pytest.raises(Invalid, match="takes"):
        stars.add(math.nan)
    with pytest.raises(Invalid, match="delta"):
        Adwin(delta=0.0)
