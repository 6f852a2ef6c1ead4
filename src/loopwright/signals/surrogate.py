"""The surrogate: a prediction of a late outcome from early signals, used until the outcome arrives.

Hard outcomes are late; edits, copies and retries are early. For each task a small ridge regression, logistic
for an outcome of 0 or 1 and linear otherwise, is calibrated on decisions that have *matured*: those whose
attribution window is closed. A young decision is left out even when its outcome has come, because outcomes
that come fast differ from those that come late. The true outcome replaces the surrogate and is never added to
it: `expected` is the one place that says so.

Reference: Athey, Chetty, Imbens, Kang 2019, "The surrogate index: combining short-term proxies to estimate
long-term treatment effects more rapidly and precisely".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid

Floats = npt.NDArray[np.float64]
Link = Literal["logistic", "linear"]

# Below these the 5-fold figures say little; ten of the rarer outcome are about two in each fold.
MIN_ROWS: Final = 50
MIN_PER_CLASS: Final = 10
FOLDS: Final = 5
BINS: Final = 10
LIMIT: Final = 30.0
"""Largest magnitude of a logit: beyond it, a probability is 0 or 1 to thirteen digits."""


class Row(msgspec.Struct, frozen=True):
    """One decision with its signals, and its outcome where one arrived."""

    decided_at_ms: int
    signals: Mapping[str, float]
    outcome: float | None


class Bin(msgspec.Struct, frozen=True):
    """Predictions of about the same height, and what came true of them."""

    n: int
    predicted: float
    observed: float


class Calibration(msgspec.Struct, frozen=True):
    """How good the predictions are for decisions that the fit had not seen (5-fold).

    `error` is the mean squared error: the Brier score of a logistic surrogate. `base_error` is that of always
    predicting the mean; `auc` is the probability that a 1 is predicted higher than a 0, and is None for a
    linear surrogate.
    """

    error: float
    base_error: float
    auc: float | None
    bins: tuple[Bin, ...]

    @property
    def explained(self) -> float:
        """The share of the error that the signals take away; 0 or less means that they say nothing."""
        return 1.0 - self.error / self.base_error if self.base_error else 0.0


class Surrogate(msgspec.Struct, frozen=True):
    """A calibrated map from signals to the expected outcome of one task.

    A signal contributes `present` when it occurred plus `slope` times its value. `low` and `high` are the
    outcomes that were seen; a prediction never leaves them. `version` is a digest of everything else.
    """

    task: str
    metric: str
    link: Link
    intercept: float
    present: dict[str, float]
    slopes: dict[str, float]
    low: float
    high: float
    n: int
    unmatured: int
    missing: int
    window_ms: int
    fitted_at_ms: int
    calibration: Calibration
    version: str = ""

    def predict(self, signals: Mapping[str, float]) -> float:
        """Return the expected outcome. Signals that the fit did not know say nothing."""
        eta = self.intercept
        for kind, value in signals.items():
            # Presence and value apart: a signal that did not occur is not a signal of value 0.
            eta += self.present.get(kind, 0.0) + self.slopes.get(kind, 0.0) * value
        if self.link == "logistic":
            return 1.0 / (1.0 + math.exp(-min(max(eta, -LIMIT), LIMIT)))
        # A line leaves the range of outcomes where signals are rare or large.
        return min(max(eta, self.low), self.high)


def expected(outcome: float | None, signals: Mapping[str, float], surrogate: Surrogate) -> float:
    """Return the true outcome when there is one, else the prediction from the signals."""
    return surrogate.predict(signals) if outcome is None else outcome


def has_matured(decided_at_ms: int, *, now_ms: int, window_ms: int) -> bool:
    """Say whether the attribution window of a decision has closed."""
    return now_ms > decided_at_ms + window_ms


def fit(
    rows: Sequence[Row],
    *,
    task: str,
    metric: str,
    now_ms: int,
    window_ms: int,
    default: float | None = None,
    l2: float = 1.0,
) -> Surrogate:
    """Return the surrogate of a task, calibrated on its matured decisions.

    `default` is the outcome of a matured decision that got none; without it such decisions are left out and
    counted as missing. The fit is logistic when every outcome is 0 or 1. `l2` is the ridge on coefficients of
    standardised columns, as a number of rows' worth of doubt. The same rows in the same order give the same
    surrogate. Raises `Invalid` when fewer than 50 decisions are left, one of two outcomes has fewer than 10,
    all outcomes are equal, or a number is not finite.
    """
    if l2 <= 0 or window_ms <= 0:
        raise Invalid(f"l2 is {l2} and window_ms is {window_ms}; give both above 0")
    matured = [
        row for row in rows if has_matured(row.decided_at_ms, now_ms=now_ms, window_ms=window_ms)
    ]
    kept, outcomes = _settled(matured, default=default)
    link = _check(outcomes, task=task)
    kinds, columns = _columns(kept)
    coefficients = _solve(columns, outcomes, link=link, l2=l2)
    k = len(kinds)
    surrogate = Surrogate(
        task=task,
        metric=metric,
        link=link,
        intercept=float(coefficients[0]),
        present=dict(zip(kinds, coefficients[1 : 1 + k].tolist(), strict=True)),
        slopes=dict(zip(kinds, coefficients[1 + k :].tolist(), strict=True)),
        low=float(outcomes.min()),
        high=float(outcomes.max()),
        n=len(kept),
        unmatured=len(rows) - len(matured),
        missing=len(matured) - len(kept),
        window_ms=window_ms,
        fitted_at_ms=now_ms,
        calibration=_calibrate(columns, outcomes, link=link, l2=l2),
    )
    # The digest covers the time of the fit and all counts, so two calibrations are two versions.
    digest = blake2b(msgspec.msgpack.encode(surrogate), digest_size=8).hexdigest()
    return msgspec.structs.replace(surrogate, version=digest)


def _settled(matured: Sequence[Row], *, default: float | None) -> tuple[list[Row], Floats]:
    """Return the rows that have an outcome, or get the default, and those outcomes."""
    kept, outcomes = [], []
    for row in matured:
        outcome = default if row.outcome is None else row.outcome
        if outcome is not None:
            kept.append(row)
            outcomes.append(outcome)
    return kept, np.array(outcomes, dtype=np.float64)


def _check(outcomes: Floats, *, task: str) -> Link:
    """Return the link that fits the outcomes, or raise `Invalid` when there is too little to learn from."""
    if len(outcomes) < MIN_ROWS:
        raise Invalid(
            f"task {task!r} has {len(outcomes)} matured decisions with an outcome; "
            f"{MIN_ROWS} are needed, so wait for more",
            found=len(outcomes),
            needed=MIN_ROWS,
        )
    if not np.isfinite(outcomes).all():
        raise Invalid(f"task {task!r} has an outcome that is not finite; leave it out")
    if outcomes.min() == outcomes.max():
        raise Invalid(
            f"every outcome of task {task!r} is {outcomes[0]:g}; nothing can be learnt from that"
        )
    if not np.isin(outcomes, (0.0, 1.0)).all():
        return "linear"
    rarer = int(min((outcomes == 0).sum(), (outcomes == 1).sum()))
    if rarer < MIN_PER_CLASS:
        raise Invalid(
            f"task {task!r} has {rarer} decisions with the rarer outcome; {MIN_PER_CLASS} are needed",
            found=rarer,
            needed=MIN_PER_CLASS,
        )
    return "logistic"


def _columns(rows: Sequence[Row]) -> tuple[list[str], Floats]:
    """Return the kinds of signal and, for each row, which occurred and then their values, shape [n, 2k]."""
    # Sorted: the order of columns decides rounding, and with it the version.
    kinds = sorted({kind for row in rows for kind in row.signals})
    columns = np.zeros((len(rows), 2 * len(kinds)))
    where = {kind: i for i, kind in enumerate(kinds)}
    for i, row in enumerate(rows):
        for kind, value in row.signals.items():
            columns[i, where[kind]] = 1.0
            columns[i, where[kind] + len(kinds)] = value
    if not np.isfinite(columns).all():
        raise Invalid("a signal is not finite; leave it out")
    return kinds, columns


def _solve(columns: Floats, outcomes: Floats, *, link: Link, l2: float) -> Floats:
    """Return intercept and coefficients in the units of `columns`, fitted on standardised ones."""
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    # A constant column says nothing: its coefficient becomes 0.
    spread[spread < 1e-12] = np.inf
    x = np.hstack([np.ones((len(columns), 1)), (columns - centre) / spread])
    ridge = np.full(x.shape[1], l2)
    # The intercept is not shrunk: without signals the prediction is the mean.
    ridge[0] = 0.0
    solve = _logistic if link == "logistic" else _linear
    theta: Floats = solve(x, outcomes, ridge)
    slopes = (theta[1:] / spread).astype(np.float64)
    return np.concatenate([[theta[0] - float(slopes @ centre)], slopes])


def _linear(x: Floats, y: Floats, ridge: Floats) -> Floats:
    # The ridge makes the matrix positive definite even where two signals always come together.
    return np.linalg.solve(x.T @ x + np.diag(ridge), x.T @ y).astype(np.float64)


def _logistic(x: Floats, y: Floats, ridge: Floats) -> Floats:
    """Minimise log loss plus ridge by Newton's method, halving a step that would not descend."""
    theta: Floats = np.zeros(x.shape[1])
    loss = _log_loss(theta, x, y, ridge=ridge)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ theta, -LIMIT, LIMIT)))
        gradient = x.T @ (p - y) + ridge * theta
        if np.abs(gradient).max() < 1e-9 * len(y):
            break
        # Certain predictions have no curvature, and the matrix would be near singular.
        weights = np.maximum(p * (1.0 - p), 1e-12)
        step = np.linalg.solve((x * weights[:, None]).T @ x + np.diag(ridge), gradient)
        scale = 1.0
        # Newton's full step can overshoot where classes nearly separate.
        while (new := _log_loss(theta - scale * step, x, y, ridge=ridge)) > loss and scale > 1e-9:
            scale /= 2
        theta, loss = theta - scale * step, new
    return theta


def _log_loss(theta: Floats, x: Floats, y: Floats, *, ridge: Floats) -> float:
    eta = x @ theta
    # log(1 + e^η) without overflow for large η.
    return float((np.logaddexp(0.0, eta) - y * eta).sum() + 0.5 * (ridge * theta * theta).sum())


def _calibrate(columns: Floats, outcomes: Floats, *, link: Link, l2: float) -> Calibration:
    """Predict every row by a fit on the other folds, and compare."""
    # Every fifth row: rows come in order of time, so each fold covers all of it; and no randomness.
    fold = np.arange(len(outcomes)) % FOLDS
    predicted = np.empty(len(outcomes))
    for held in range(FOLDS):
        seen = fold != held
        coefficients = _solve(columns[seen], outcomes[seen], link=link, l2=l2)
        eta = coefficients[0] + columns[~seen] @ coefficients[1:]
        if link == "logistic":
            predicted[~seen] = 1.0 / (1.0 + np.exp(-np.clip(eta, -LIMIT, LIMIT)))
        else:
            # Clipped as `predict` does, or the error would be that of another model.
            predicted[~seen] = np.clip(eta, outcomes[seen].min(), outcomes[seen].max())
    return Calibration(
        error=float(((predicted - outcomes) ** 2).mean()),
        base_error=float(outcomes.var()),
        auc=auc(predicted, outcomes) if link == "logistic" else None,
        bins=reliability(predicted, outcomes),
    )


def reliability(predicted: Floats, outcomes: Floats, *, bins: int = BINS) -> tuple[Bin, ...]:
    """Return up to `bins` groups of equal size, from the lowest prediction to the highest."""
    order = np.argsort(predicted, kind="stable")
    return tuple(
        Bin(len(part), float(predicted[part].mean()), float(outcomes[part].mean()))
        for part in np.array_split(order, min(bins, len(order)))
    )


def auc(predicted: Floats, outcomes: Floats) -> float:
    """Return the probability that a 1 is predicted higher than a 0, ties counted half."""
    _, inverse, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    # The Mann-Whitney statistic from middle ranks, so that ties count half.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = outcomes == 1.0
    n1, n0 = int(ones.sum()), int((~ones).sum())
    return float((ranks[ones].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))
