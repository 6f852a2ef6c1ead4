from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.limiting.bucket import Rate
from loopwright.limiting.memory import MemoryBuckets, Take

from .conftest import Nanoseconds

STEPS = st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 6)), max_size=60)


@given(steps=STEPS, per_s=st.floats(0.1, 50), burst=st.floats(0.5, 20))
def test_no_interval_gets_more_than_the_burst_and_its_refill(
    steps: list[tuple[float, float]], per_s: float, burst: float
) -> None:
    clock, rate = Nanoseconds(), Rate(per_s, burst)
    buckets = MemoryBuckets(clock)
    taken: list[tuple[int, float]] = []
    for wait, cost in steps:
        clock.advance(wait)
        if buckets.take("k", rate, cost)[0]:
            taken.append((clock.now, cost))
    for first, (start, _) in enumerate(taken):
        total = 0.0
        for end, cost in taken[first:]:
            total += cost
            assert total <= burst + per_s * (end - start) / 1e9 + 1e-6


def test_a_denial_takes_nothing(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 10)
    assert buckets.take("k", rate, 8) == (True, 2)
    assert [buckets.take("k", rate, 3) for _ in range(5)] == [(False, 2)] * 5
    assert buckets.take("k", rate, 2) == (True, 0)


def test_a_new_rate_applies_to_the_tokens_that_are_there(clock: Nanoseconds) -> None:
    buckets = MemoryBuckets(clock)
    buckets.take("k", Rate(1, 10), 10)
    clock.advance(1)
    assert buckets.level("k", Rate(1, 10)) == 1
    assert buckets.level("k", Rate(5, 10)) == 5
    assert buckets.take("k", Rate(5, 3), 3) == (True, 0)


def test_a_clock_that_goes_back_neither_refills_nor_stops_the_refill(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(10, 10)
    buckets.take("k", rate, 10)
    clock.advance(-0.9)
    assert buckets.take("k", rate, 1) == (False, 0)
    clock.advance(0.5)
    assert buckets.take("k", rate, 5) == (True, 0)


def test_takes_of_several_buckets_are_all_or_nothing(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 10)
    buckets.take("team", rate, 9)
    every, found = buckets.take_all([Take("org", rate, 2), Take("team", rate, 2)])
    assert (every, found) == (False, [(True, 10), (False, 1)])
    every, found = buckets.take_all([Take("org", rate, 1), Take("team", rate, 1)])
    assert (every, found) == (True, [(True, 9), (True, 0)])


def test_one_bucket_named_twice_must_hold_both_costs(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 10)
    assert buckets.take_all([Take("k", rate, 6), Take("k", rate, 6)])[0] is False
    assert buckets.take_all([Take("k", rate, 5), Take("k", rate, 5)])[0] is True
    assert buckets.level("k", rate) == 0


def test_a_take_that_does_not_bind_refuses_nobody(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 10)
    every, found = buckets.take_all([Take("a", rate, 1), Take("b", rate, 11, binds=False)])
    assert (every, found) == (True, [(True, 9), (False, 10)])


def test_a_charge_makes_a_debt_and_what_returns_stops_at_the_burst(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 10)
    assert buckets.charge("k", rate, 15) == -5
    clock.advance(4)
    assert buckets.take("k", rate, 1) == (False, -1)
    assert buckets.charge("k", rate, -100) == 10


def test_a_flood_of_keys_that_came_once_is_forgotten(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(10, 10)
    for number in range(5_000):
        buckets.take(f"k{number}", rate, 1)
        clock.advance(0.01)
    assert len(buckets) < 50
    assert buckets.evicted == 0


def test_memory_stays_bounded_and_a_used_up_bucket_is_evicted_last(clock: Nanoseconds) -> None:
    buckets, rate = MemoryBuckets(clock, most_keys=100), Rate(0.001, 10)
    buckets.take("spent", rate, 10)
    for number in range(1_000):
        buckets.take(f"k{number}", rate, 1)
    assert len(buckets) <= 100
    assert buckets.evicted >= 900
    assert buckets.take("spent", rate, 1) == (False, 0)


@pytest.mark.parametrize("together", [False, True])
def test_threads_share_one_bucket_exactly(clock: Nanoseconds, together: bool) -> None:
    buckets, rate = MemoryBuckets(clock), Rate(1, 500)
    admitted: list[bool] = []

    def ask() -> None:
        for _ in range(200):
            takes = [Take("k", rate, 1)]
            admitted.append(
                buckets.take_all(takes)[0] if together else buckets.take("k", rate, 1)[0]
            )

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 500
