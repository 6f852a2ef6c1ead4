"""Identifiers: time-ordered UUIDs, written as 32 hexadecimal digits.

UUIDv7 (RFC 9562) keeps index inserts local, which makes deduplication about twice as cheap as with random
ids, and carries the time of its making.
"""

from __future__ import annotations

import random
from typing import Final

from .clock import Clock

_VARIANT: Final = 2 << 62


class Ids:
    """Makes UUIDv7 ids whose time never runs backwards, even when the clock does.

    >>> from loopwright.testing import ManualClock
    >>> ids = Ids(ManualClock(1_700_000_000_000), random.Random(7))
    >>> len(ids()), time_of(ids())
    (32, 1700000000000)
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._now_ms = clock.now_ms
        self._bits = rng.getrandbits
        # When the clock steps back, ids keep the latest time seen: readers may rely on their order.
        self._last_ms = -1
        self._prefix = ""

    def __call__(self, now_ms: int | None = None) -> str:
        """Return a new id: 32 lower-case hexadecimal digits. Pass the time if it has just been read."""
        if now_ms is None:
            now_ms = self._now_ms()
        if now_ms > self._last_ms:
            # Many ids are made in one millisecond: its digits and the version's are written once.
            self._prefix = f"{now_ms:012x}7"
            self._last_ms = now_ms
        # 12 random bits, the variant 0b10, 62 random bits (RFC 9562, section 5.7), without a counter: two ids of one
        # millisecond are in no order, and meet with probability 2⁻⁷⁴.
        noise = self._bits(12) << 64 | _VARIANT | self._bits(62)
        return f"{self._prefix}{noise:019x}"


def time_of(uuid7: str) -> int:
    """Return the milliseconds since the epoch that `uuid7` was made at."""
    return int(uuid7[:12], 16)
