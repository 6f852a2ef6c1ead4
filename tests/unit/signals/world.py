"""Surrogates to keep and read."""

from __future__ import annotations

import random

from loopwright.core.clock import DAY_MS
from loopwright.signals.surrogate import Row, Surrogate, fit

START = 1_750_000_000_000


def fitted(*, task: str = "support", metric: str = "resolved", now_ms: int = START) -> Surrogate:
    """A surrogate by which a copied answer is mostly resolved and an abandoned one mostly not."""
    rng = random.Random(5)
    rows = []
    for _ in range(100):
        is_copied = rng.random() < 0.5
        outcome = float(rng.random() < (0.8 if is_copied else 0.2))
        rows.append(Row(0, {"copy": 1.0} if is_copied else {"abandonment": 1.0}, outcome))
    return fit(rows, task=task, metric=metric, now_ms=now_ms, window_ms=DAY_MS)
