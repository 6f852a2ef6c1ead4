from __future__ import annotations

from loopwright.testing import ManualClock


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5_000)
    assert (clock.now_ms(), clock.now_ms()) == (5_000, 5_000)


def test_the_clock_moves_both_ways_and_rounds_to_milliseconds() -> None:
    clock = ManualClock(5_000)
    clock.advance(seconds=1.2346)
    assert clock.now_ms() == 6_235
    clock.advance(seconds=-2)
    assert clock.now_ms() == 4_235
