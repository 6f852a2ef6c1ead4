"""A log in memory for tests of people."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.events import Fact
from loopwright.core.ports import Committed


class Log:
    """Takes facts once per key."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.keys: set[bytes] = set()

    def append(self, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        duplicates = [key in self.keys for key in keys]
        self.keys |= {key for key in keys if key is not None}
        fresh = [fact for fact, known in zip(facts, duplicates, strict=True) if not known]
        self.facts += fresh
        return Committed(len(self.facts) if fresh else None, duplicates)
