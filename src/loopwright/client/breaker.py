"""A circuit breaker for a server that hangs.

A server that refuses a connection costs a product a millisecond; one that accepts it and never answers costs the
whole timeout, for every call. After a few timeouts in a row calls fail at once, and now and then a single call
finds out whether the server answers again (Nygard, Release It!, 2007).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

AFTER: Final = 3
"""Timeouts in a row after which calls fail at once."""
PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class Breaker:
    """Counts timeouts in a row. `monotonic` tells the time in seconds. Any thread may use it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._timeouts = 0
        self._closed_until = 0.0

    def wait_s(self, patience_s: float) -> float:
        """Return 0 when a call may go out, else the seconds until the next may.

        Once the pause is over one caller gets 0: its call is the probe, and while it lasts, for `patience_s` at
        most, the others still fail at once.
        """
        # Read without the lock, as on every call of a healthy server; looked at again below.
        if self._timeouts < AFTER:
            return 0.0
        with self._lock:
            now = self._monotonic()
            left_s = self._closed_until - now
            if self._timeouts < AFTER:
                return 0.0
            if left_s <= 0:
                # Moved before the probe goes out, so that the next caller is not a second probe.
                self._closed_until = now + patience_s
                return 0.0
            return left_s

    def timed_out(self) -> None:
        """Note that a call got no answer in time."""
        with self._lock:
            self._timeouts += 1
            doublings = self._timeouts - AFTER
            if doublings >= 0:
                # Bounded before the power is taken: 2.0 ** 1024 overflows.
                pause_s = min(PAUSE_S * 2.0 ** min(doublings, 16), LONGEST_PAUSE_S)
                self._closed_until = self._monotonic() + pause_s

    def answered(self) -> None:
        """Note that the server answered, or that the call failed without waiting."""
        # A server that is well answers every call: no lock for those.
        if self._timeouts:
            with self._lock:
                self._timeouts = 0
