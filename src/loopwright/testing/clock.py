"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A clock that stands still until it is told to move."""

    # June 2025: late enough for ids and days to look real, and a fixed number, so that runs are equal.
    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return self._now_ms

    def advance(self, *, seconds: float) -> None:
        """Move the clock forward; a negative number moves it back."""
        self._now_ms += round(seconds * 1000)
