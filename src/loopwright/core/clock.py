"""Time comes in by the door.

Services take a `Clock`; nothing below `app` asks the operating system. Times are whole milliseconds since
the Unix epoch, UTC: that is what a UUIDv7 carries, and it needs no time zone.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Clock(Protocol):
    """Says what time it is."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The operating system's wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        # Whole numbers throughout: a float of seconds is rounded before it can be cut to milliseconds.
        return time.time_ns() // 1_000_000
