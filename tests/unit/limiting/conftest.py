from __future__ import annotations

import pytest


class Nanoseconds:
    """A clock of nanoseconds that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000_000)


@pytest.fixture
def clock() -> Nanoseconds:
    return Nanoseconds()
