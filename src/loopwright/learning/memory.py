"""Decisions whose reward may still change.

Most experiments need none of this: one feedback per decision trains, and the log itself drops duplicates. An
experiment with revisions must know what a decision has taught so far, to take it back; one with an attribution
window must know which decisions wait. What changed since the last checkpoint is kept here, the rest in the
database, so memory stays small whatever the window.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

GRACE_MS: Final = 600_000
"""How long past its window a decision is remembered, for facts that reach the log out of order."""

PAGE: Final = 4096
NEVER_MS: Final = 2**62
"""Later than any time of a fact."""


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one decision.

    `seen` are the values that count, reduced to what the next reward needs; `reward` is what the policy's sums
    hold for the decision (None: nothing yet) and `offset` the fact that put it there.
    """

    arm: int
    propensity: float
    vector: bytes | None
    decided_at_ms: int
    forget_ms: int | None = None
    """When, in event time, the decision is forgotten; None for never."""
    due_ms: int | None = None
    """The end of its window while it waits for feedback; None when nothing is awaited."""
    seen: tuple[float, ...] = ()
    reward: float | None = None
    offset: int = 0
    is_expected: bool = False
    """Whether `reward` is only an expectation: it teaches, and the decision goes on waiting."""
    has_spent: bool = False
    """Whether an expectation, since replaced by the default, used up the sender's allowances."""

    @property
    def is_silent(self) -> bool:
        """Whether it waits for feedback and has taught nothing so far."""
        return self.due_ms is not None and self.reward is None

    def taught(
        self, reward: float, *, offset: int, seen: tuple[float, ...] | None = None
    ) -> Remembered:
        """Return the decision after it taught `reward`; it waits no longer."""
        return replace(
            self,
            due_ms=None,
            seen=self.seen if seen is None else seen,
            reward=reward,
            offset=offset,
            is_expected=False,
            # The default replaces the expectation whenever the log is cut between them; a correction must stay free after it too.
            has_spent=self.has_spent or self.is_expected,
        )

    def expecting(self, reward: float, *, offset: int) -> Remembered:
        """Return the decision after it taught what it is expected to earn; it waits as before."""
        return replace(self, reward=reward, offset=offset, is_expected=True)


class Shelf(Protocol):
    """Where remembered decisions of one experiment are kept between checkpoints."""

    def get(self, decision_ids: Sequence[str]) -> Iterable[tuple[str, Remembered]]:
        """Return those that are kept."""
        ...

    def waiting(
        self, before_ms: int, *, after: tuple[int, str], limit: int
    ) -> list[tuple[str, Remembered]]:
        """Return decisions due before a time, by time due and id, beginning after the pair `after`."""
        ...

    def next_due_ms(self, from_ms: int) -> int | None:
        """Return the earliest time, not before `from_ms`, that a kept decision is due."""
        ...

    def spent(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, int]]:
        """Return those counts of `Spent` that are kept."""
        ...


class Memory:
    """The remembered decisions of one experiment: a shelf, and what changed since it was written."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._changed: dict[str, Remembered | None] = {}
        self._read: dict[str, Remembered] = {}
        self._due: list[tuple[int, str]] = []
        self._shelf_due_ms = _or_never(shelf.next_due_ms(0))

    @property
    def next_due_ms(self) -> float:
        """A time before which nothing is due; infinite when nothing waits."""
        return min(self._shelf_due_ms, self._due[0][0] if self._due else math.inf)

    def fetch(self, decision_ids: Iterable[str]) -> None:
        """Read from the shelf, in one go, what `get` will be asked for."""
        # `_changed` answers for the others, for dropped ones (None) too; the shelf's rows of them are older.
        unknown = [id for id in dict.fromkeys(decision_ids) if id not in self._changed]
        self._read = dict(self._shelf.get(unknown)) if unknown else {}

    def get(self, decision_id: str) -> Remembered | None:
        """Return what is known of a decision that was fetched."""
        if decision_id in self._changed:
            return self._changed[decision_id]
        return self._read.get(decision_id)

    def put(self, decision_id: str, remembered: Remembered) -> None:
        """Remember a decision, in place of what was known of it."""
        self._changed[decision_id] = remembered
        if remembered.due_ms is not None:
            heapq.heappush(self._due, (remembered.due_ms, decision_id))

    def drop(self, decision_id: str) -> None:
        """Forget a decision."""
        self._changed[decision_id] = None

    def overdue(self, event_ms: int) -> Iterator[tuple[str, Remembered]]:
        """Yield the decisions whose window ended before `event_ms`; the caller puts or drops each."""
        if event_ms <= self.next_due_ms:
            return
        while self._due and self._due[0][0] < event_ms:
            due_ms, decision_id = heapq.heappop(self._due)
            waiting = self._changed.get(decision_id)
            # An entry of the heap is stale once its decision was answered or forgotten; taking it out then would cost a
            # search of the heap.
            if waiting is not None and waiting.due_ms == due_ms:
                yield decision_id, waiting
        if self._shelf_due_ms < event_ms:
            yield from self._overdue_on_shelf(event_ms)
            self._shelf_due_ms = _or_never(self._shelf.next_due_ms(event_ms))

    def _overdue_on_shelf(self, event_ms: int) -> Iterator[tuple[str, Remembered]]:
        after = (-1, "")
        while page := self._shelf.waiting(event_ms, after=after, limit=PAGE):
            for decision_id, waiting in page:
                # What changed since the checkpoint is newer than the shelf's row, and the heap above has dealt with it.
                if decision_id not in self._changed:
                    yield decision_id, waiting
            # By the last row's key and not by OFFSET, which would read every earlier page again.
            last_id, last = page[-1]
            assert last.due_ms is not None
            after = (last.due_ms, last_id)

    def silent(self) -> Iterator[list[Remembered]]:
        """Yield all decisions that wait and have taught nothing, in pages."""
        after = (-1, "")
        while page := self._shelf.waiting(NEVER_MS, after=after, limit=PAGE):
            yield [row for id, row in page if id not in self._changed and row.is_silent]
            last_id, last = page[-1]
            assert last.due_ms is not None
            after = (last.due_ms, last_id)
        yield [row for row in self._changed.values() if row is not None and row.is_silent]

    def changes(self) -> dict[str, Remembered | None]:
        """Return what the shelf does not know yet: decisions and, as None, those to forget."""
        return self._changed

    def written(self) -> None:
        """Take note that the shelf has all changes."""
        # The heap goes with the changes: what still waits is on the shelf, which is asked from now on.
        self._changed = {}
        self._read = {}
        self._due = []
        self._shelf_due_ms = _or_never(self._shelf.next_due_ms(0))


class Spent:
    """How often each person, session and address has taught an arm on the day that the log has come to.

    As with `Memory`, what changed since the last checkpoint is here, the rest on the shelf. Keys are never asked
    for again once the log has come to a later day.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._changed: dict[bytes, int] = {}
        self._read: dict[bytes, int] = {}
        self.day = -1
        """The day that the counts are of, as a number of days since the epoch."""

    def fetch(self, keys: Iterable[bytes]) -> None:
        """Read from the shelf, in one go, what `count` will be asked for."""
        unknown = [key for key in dict.fromkeys(keys) if key not in self._changed]
        self._read = dict(self._shelf.spent(unknown)) if unknown else {}

    def count(self, key: bytes) -> int:
        """Return a count that was fetched."""
        found = self._changed.get(key)
        return self._read.get(key, 0) if found is None else found

    def add(self, key: bytes, *, day: int) -> None:
        """Count once more; the first of a day ends the day before."""
        if day > self.day:
            self.day = day
            self._changed.clear()
        self._changed[key] = self.count(key) + 1

    def changes(self) -> dict[bytes, int]:
        """Return what the shelf does not know yet; what it has of earlier days is over."""
        return self._changed

    def written(self) -> None:
        """Take note that the shelf has all changes."""
        self._changed = {}
        self._read = {}


def add_exactly(parts: tuple[float, ...], value: float) -> tuple[float, ...]:
    """Return floats whose exact sum is that of `parts` and `value` (Shewchuk 1997).

    Adding revisions one by one this way and summing all of them at once give the same float.
    """
    kept: list[float] = []
    for part in parts:
        if abs(value) < abs(part):
            value, part = part, value
        total = value + part
        error = part - (total - value)
        if error:
            kept.append(error)
        value = total
    return (*kept, value)


def _or_never(due_ms: int | None) -> float:
    return math.inf if due_ms is None else due_ms
