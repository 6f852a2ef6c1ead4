from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import mannwhitneyu

from loopwright.core.errors import Invalid
from loopwright.signals.surrogate import (
    Calibration,
    Row,
    Surrogate,
    auc,
    expected,
    fit,
    has_matured,
    reliability,
)

DAY = 86_400_000
NOW = 100 * DAY


def logistic(eta: float) -> float:
    return 1.0 / (1.0 + math.exp(-eta))


def matured(n: int, seed: int = 1) -> list[Row]:
    """Decisions whose outcome is likelier after a copy and less likely the more was edited."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        signals = {}
        eta = -0.5
        if rng.random() < 0.5:
            signals["copy"] = 1.0
            eta += 2.0
        if rng.random() < 0.6:
            signals["edit_distance"] = rng.random()
            eta += 0.5 - 3.0 * signals["edit_distance"]
        rows.append(Row(0, signals, float(rng.random() < logistic(eta))))
    return rows


def fitted(rows: list[Row], **options: object) -> Surrogate:
    return fit(rows, task="answer", metric="resolved", now_ms=NOW, window_ms=DAY, **options)  # type: ignore[arg-type]


def test_the_fit_recovers_how_outcomes_depend_on_signals():
    surrogate = fitted(matured(20_000))
    assert surrogate.link == "logistic"
    assert surrogate.predict({}) == pytest.approx(logistic(-0.5), abs=0.02)
    assert surrogate.predict({"copy": 1.0}) == pytest.approx(logistic(1.5), abs=0.02)
    assert surrogate.predict({"edit_distance": 0.9}) == pytest.approx(logistic(-2.7), abs=0.02)
    assert surrogate.slopes["edit_distance"] == pytest.approx(-3.0, abs=0.3)


def test_predictions_for_unseen_decisions_are_calibrated():
    seen = fitted(matured(20_000)).calibration
    assert len(seen.bins) == 10
    for part in seen.bins:
        assert part.predicted == pytest.approx(part.observed, abs=4 * math.sqrt(0.25 / part.n))
    assert seen.error < seen.base_error
    assert 0.1 < seen.explained < 1
    assert seen.auc is not None
    assert 0.7 < seen.auc < 1


def test_signals_that_say_nothing_are_seen_to_say_nothing():
    rng = random.Random(3)
    rows = [Row(0, {"dwell": rng.random()}, float(rng.random() < 0.5)) for _ in range(2000)]
    seen = fitted(rows).calibration
    assert seen.auc == pytest.approx(0.5, abs=0.05)
    assert abs(seen.explained) < 0.01


def test_the_logistic_fit_is_the_minimum_that_scipy_finds():
    rows = matured(300)
    surrogate = fitted(rows, l2=2.0)
    kinds = sorted(surrogate.slopes)
    raw = np.array(
        [[k in r.signals for k in kinds] + [r.signals.get(k, 0.0) for k in kinds] for r in rows],
        dtype=float,
    )
    y = np.array([r.outcome for r in rows])
    spread = raw.std(axis=0)
    keep = spread > 0
    x = (raw[:, keep] - raw[:, keep].mean(axis=0)) / spread[keep]

    def loss(theta: np.ndarray) -> float:
        eta = theta[0] + x @ theta[1:]
        return float((np.logaddexp(0, eta) - y * eta).sum() + 1.0 * (theta[1:] ** 2).sum())

    theirs = minimize(loss, np.zeros(x.shape[1] + 1), method="BFGS", options={"gtol": 1e-6})
    predicted = 1 / (1 + np.exp(-(theirs.x[0] + x @ theirs.x[1:])))
    ours = [surrogate.predict(row.signals) for row in rows]
    assert np.abs(predicted - ours).max() < 1e-4


def test_outcomes_other_than_0_and_1_get_a_linear_fit_that_stays_in_their_range():
    rng = random.Random(9)
    rows = []
    for _ in range(500):
        edited = rng.random()
        rows.append(Row(0, {"edit_distance": edited}, 5.0 - 4.0 * edited + rng.gauss(0, 0.1)))
    surrogate = fitted(rows)
    assert surrogate.link == "linear"
    assert surrogate.predict({"edit_distance": 0.5}) == pytest.approx(3.0, abs=0.05)
    assert surrogate.predict({"edit_distance": 100.0}) == surrogate.low
    assert surrogate.predict({"edit_distance": -100.0}) == surrogate.high
    assert surrogate.calibration.auc is None
    assert surrogate.calibration.explained > 0.95


def test_a_young_decision_is_left_out_even_when_its_outcome_has_come():
    young = [Row(NOW - DAY, {"copy": 1.0}, 0.0), Row(NOW, {"copy": 1.0}, 0.0)] * 500
    surrogate = fitted(matured(1000) + young)
    assert (surrogate.n, surrogate.unmatured) == (1000, 1000)
    same = fitted(matured(1000))
    assert surrogate.predict({"copy": 1.0}) == same.predict({"copy": 1.0})


def test_a_window_is_closed_only_after_its_last_millisecond():
    assert not has_matured(0, now_ms=DAY, window_ms=DAY)
    assert has_matured(0, now_ms=DAY + 1, window_ms=DAY)


def test_matured_decisions_without_outcome_are_counted_or_get_the_default():
    silent = [Row(0, {"retry": 1.0}, None)] * 300
    left_out = fitted(matured(1000) + silent)
    assert (left_out.n, left_out.missing) == (1000, 300)
    assert "retry" not in left_out.slopes
    counted = fitted(matured(1000) + silent, default=0.0)
    assert (counted.n, counted.missing) == (1300, 0)
    assert counted.predict({"retry": 1.0}) < 0.1


def test_the_true_outcome_replaces_the_surrogate_and_is_never_added_to_it():
    surrogate = fitted(matured(500))
    signals = {"copy": 1.0}
    assert expected(0.0, signals, surrogate) == 0.0
    assert expected(1.0, signals, surrogate) == 1.0
    assert expected(None, signals, surrogate) == surrogate.predict(signals)
    assert 0.0 < expected(None, signals, surrogate) < 1.0


def test_unknown_signals_change_no_prediction():
    surrogate = fitted(matured(500))
    assert surrogate.predict({"copy": 1.0, "new_kind": 7.0}) == surrogate.predict({"copy": 1.0})


def test_a_signal_that_always_has_the_same_value_has_no_slope():
    surrogate = fitted(
        [Row(r.decided_at_ms, {**r.signals, "shown": 1.0}, r.outcome) for r in matured(500)]
    )
    assert surrogate.slopes["shown"] == 0.0
    assert surrogate.present["shown"] == 0.0


def test_perfectly_separated_outcomes_still_give_finite_coefficients():
    rows = [Row(0, {"copy": 1.0}, 1.0), Row(0, {}, 0.0)] * 100
    surrogate = fitted(rows)
    assert math.isfinite(surrogate.intercept)
    assert surrogate.predict({"copy": 1.0}) > 0.95
    assert surrogate.predict({"copy": 1e9}) <= 1.0
    assert surrogate.calibration.auc == 1.0


def test_decisions_without_any_signal_are_predicted_by_their_mean():
    rows = [Row(0, {}, 1.0)] * 60 + [Row(0, {}, 0.0)] * 20
    assert fitted(rows).predict({}) == pytest.approx(0.75, abs=1e-6)


def test_the_version_names_the_content():
    assert fitted(matured(500)) == fitted(matured(500))
    assert fitted(matured(500)).version != fitted(matured(501)).version
    assert len(fitted(matured(500)).version) == 16


def test_a_surrogate_survives_encoding():
    surrogate = fitted(matured(500))
    encoded = msgspec.msgpack.encode(surrogate)
    assert msgspec.msgpack.decode(encoded, type=Surrogate) == surrogate


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has 0 matured decisions with an outcome; 50 are needed"),
        (matured(49), "has 49 matured decisions"),
        ([Row(NOW, {}, 1.0)] * 500, "has 0 matured decisions"),
        ([Row(0, {}, 1.0)] * 60, "every outcome of task 'answer' is 1"),
        (
            [Row(0, {}, 1.0)] * 60 + [Row(0, {}, 0.0)] * 9,
            "has 9 decisions with the rarer outcome; 10",
        ),
        ([Row(0, {}, math.nan)] * 60, "an outcome that is not finite"),
        ([Row(0, {"dwell": math.inf}, float(i % 2)) for i in range(60)], "a signal is not finite"),
    ],
)
def test_too_little_or_broken_data_is_refused_with_what_is_needed(rows: list[Row], message: str):
    with pytest.raises(Invalid, match=message):
        fitted(rows)


@pytest.mark.parametrize(("l2", "window_ms"), [(0.0, DAY), (1.0, 0)])
def test_a_fit_without_ridge_or_window_is_refused(l2: float, window_ms: int):
    with pytest.raises(Invalid, match="give both above 0"):
        fit(matured(100), task="t", metric="m", now_ms=NOW, window_ms=window_ms, l2=l2)


def test_auc_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(2)
    predicted, outcomes = rng.integers(0, 20, 200) / 20, rng.integers(0, 2, 200).astype(float)
    theirs = mannwhitneyu(predicted[outcomes == 1], predicted[outcomes == 0]).statistic
    n1 = int(outcomes.sum())
    assert auc(predicted, outcomes) == pytest.approx(theirs / (n1 * (200 - n1)))


def test_reliability_bins_hold_every_prediction_once():
    predicted = np.linspace(0, 1, 23)
    bins = reliability(predicted, (predicted > 0.5).astype(float))
    assert sum(part.n for part in bins) == 23
    heights = [part.predicted for part in bins]
    assert heights == sorted(heights)


def test_explained_is_0_where_there_is_nothing_to_explain():
    assert Calibration(0.0, 0.0, None, ()).explained == 0.0
