from __future__ import annotations

import time

from loopwright.core.clock import SystemClock
from loopwright.testing import ManualClock


def test_the_system_clock_counts_whole_milliseconds_since_the_epoch() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now_ms()
    assert isinstance(now, int)
    assert before <= now <= time.time_ns() // 1_000_000


def test_a_manual_clock_stands_still_until_moved() -> None:
    clock = ManualClock(1000)
    assert (clock.now_ms(), clock.now_ms()) == (1000, 1000)
    clock.advance(seconds=1.5)
    assert clock.now_ms() == 2500
    clock.advance(seconds=-2)
    assert clock.now_ms() == 500
