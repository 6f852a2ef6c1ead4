from __future__ import annotations

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.ids import Ids, time_of
from loopwright.testing import ManualClock

START = 1_750_000_000_000


@given(st.integers(0, 2**48 - 1), st.integers())
def test_an_id_is_a_valid_uuid7_that_carries_its_time(now_ms: int, seed: int) -> None:
    made = Ids(ManualClock(now_ms), random.Random(seed))()
    parsed = uuid.UUID(made)
    assert (len(made), made, parsed.version) == (32, parsed.hex, 7)
    assert parsed.variant == uuid.RFC_4122
    assert time_of(made) == now_ms


@given(st.lists(st.integers(-10_000, 10_000), max_size=50))
def test_ids_never_run_backwards_even_when_the_clock_does(steps_s: list[int]) -> None:
    clock = ManualClock(START)
    ids = Ids(clock, random.Random(1))
    times, latest = [time_of(ids())], START
    for step in steps_s:
        clock.advance(seconds=step)
        latest = max(latest, clock.now_ms())
        times.append(time_of(ids()))
        assert times[-1] == latest
    assert times == sorted(times)


def test_ids_of_one_millisecond_differ() -> None:
    ids = Ids(ManualClock(START), random.Random(2))
    assert len({ids() for _ in range(10_000)}) == 10_000


def test_ids_of_later_milliseconds_sort_later() -> None:
    clock = ManualClock(START)
    ids = Ids(clock, random.Random(3))
    made = []
    for _ in range(1000):
        made.append(ids())
        clock.advance(seconds=0.001)
    assert made == sorted(made)


def test_the_same_seed_makes_the_same_ids() -> None:
    first, second = (Ids(ManualClock(START), random.Random(4)) for _ in range(2))
    assert [first() for _ in range(5)] == [second() for _ in range(5)]


def test_every_free_bit_is_random() -> None:
    ids = Ids(ManualClock(START), random.Random(5))
    ones = zeros = 0
    for _ in range(200):
        ones |= int(ids(), 16)
        zeros |= ~int(ids(), 16)
    varying = ones & zeros & (2**128 - 1)
    assert varying == (0xFFF << 64) | (2**62 - 1)
