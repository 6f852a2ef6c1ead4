from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.learning.history import MAX_BUCKETS, History

T0 = 1_750_000_000_000
VALUES = st.floats(-(2.0**20), 2.0**20)


@given(
    st.lists(st.tuples(st.integers(T0, T0 + 10**9), VALUES), min_size=1, max_size=120),
    st.randoms(use_true_random=False),
)
def test_order_and_batches_leave_no_trace(rewards, rng):
    whole, parts = History(), History()
    whole.add([t for t, _ in rewards], [v for _, v in rewards])
    rng.shuffle(rewards)
    start = 0
    while start < len(rewards):
        part = rewards[start : start + rng.randint(1, 60)]
        parts.add([t for t, _ in part], [v for _, v in part])
        start += len(part)
    assert parts.dump() == whole.dump()
    assert History.load(whole.dump()).dump() == whole.dump()


def test_halves_are_those_of_the_rewards():
    rng = random.Random(3)
    values = [rng.gauss(0.3, 0.1) for _ in range(500)] + [rng.gauss(0.6, 0.2) for _ in range(500)]
    history = History()
    history.add([T0 + 60_000 * i for i in range(1000)], values)
    halves = history.halves()
    assert halves is not None
    earlier, later = halves
    assert earlier.n + later.n == 1000
    assert abs(earlier.n - later.n) <= 2000 / MAX_BUCKETS * 2
    first = values[: earlier.n]
    assert earlier.mean == pytest.approx(statistics.fmean(first), abs=1e-7)
    assert earlier.sd == pytest.approx(statistics.stdev(first), abs=1e-7)
    assert (earlier.minimum, earlier.maximum) == (min(first), max(first))


def test_rewards_of_one_moment_have_no_halves():
    history = History()
    assert history.halves() is None
    history.add([T0, T0], [0.0, 1.0])
    assert history.halves() is None


def test_small_and_large_batches_sum_alike():
    rng = random.Random(5)
    values = [rng.uniform(-(2**20), 2**20) for _ in range(300)]
    large, small = History(), History()
    large.add([T0] * 300, values)
    for value in values:
        small.add([T0], [value])
    assert large.dump() == small.dump()
