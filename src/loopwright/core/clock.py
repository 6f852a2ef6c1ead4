"""Time comes in by the door.

Services take a `Clock`; nothing below `app` asks the operating system. Times are whole milliseconds since
the Unix epoch, UTC: that is what a UUIDv7 carries, and it needs no time zone.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The operating system's wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000
