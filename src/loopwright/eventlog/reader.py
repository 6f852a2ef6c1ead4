"""Reading facts by offset, waiting for new ones, and replaying the whole history."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from itertools import islice
from time import monotonic
from typing import Final

from loopwright.core import upcast
from loopwright.core.errors import LogCorrupt
from loopwright.core.events import Fact
from loopwright.core.ports import START, Batch, EventLog, Offset

from .seal import Segments

POLL_S: Final = 0.05
"""How often `wait` looks at the log by itself, for facts that another process wrote."""

_REPLAY_CHUNK: Final = 10_000
_PICKED_AT_ONCE: Final = 4096


class Reader:
    """Reads one log in offset order, and sealed segments where the log has been trimmed.

    Any number of threads may read. Subscribe `wake` to the writer so that `wait` returns at each commit.
    """

    def __init__(self, log: EventLog, segments: Segments | None = None) -> None:
        self._log = log
        self._segments = segments
        self._news = threading.Condition()
        self._head: int = START
        # Offset and facts in one tuple, replaced whole, so that threads without a lock never see the facts of
        # another offset.
        self._latest: tuple[int, list[Fact]] = (START, [])

    def facts(
        self, after: int, *, limit: int, through: int | None = None
    ) -> list[tuple[int, Fact]]:
        """Return at most `limit` facts beyond offset `after`, and not beyond `through`, each with its offset, without gaps.

        Raises `LogCorrupt` when the log ends before `after`, or when the fact that follows it is neither in
        the log nor in a sealed segment.
        """
        if through is not None:
            limit = min(limit, through - after)
            if limit <= 0:
                return []
        batches = self._log.read(Offset(after), limit=limit)
        if not batches:
            head = self._log.head()
            if head == after:
                return []
            # An older log was put back. Its next facts would get offsets that this consumer has passed, and be
            # skipped.
            if head < after:
                raise LogCorrupt(
                    f"the log ends at offset {head}, but its reader has already seen offset {after}: "
                    "restore the log and what was derived from it from the same backup",
                    found=head,
                    expected=after,
                )
            # A commit may have come between the two questions; if not, all of the log was trimmed.
            batches = self._log.read(Offset(after), limit=limit)
        if not batches or batches[0].first > after + 1:
            return self._sealed(after, limit)
        found: list[tuple[int, Fact]] = []
        for batch in batches:
            if batch.first > after + 1:
                raise LogCorrupt(f"the log goes from offset {after} to {batch.first}")
            # A position may lie within a batch, because consumers stop where their `limit` ends.
            facts = self._decode(batch)[after + 1 - batch.first :]
            found += zip(range(after + 1, batch.last + 1), facts, strict=True)
            after = batch.last
        del found[limit:]
        return found

    def head(self) -> Offset:
        """Return the offset of the newest record; 0 when there is none."""
        return self._log.head()

    def at(self, offset: int) -> Fact | None:
        """Return the fact at `offset`; None at the start, where there is none."""
        found = self.facts(offset - 1, limit=1) if offset else []
        return found[0][1] if found else None

    def pick(self, offsets: Collection[int]) -> Iterator[Fact]:
        """Yield the facts at `offsets`, in their order, in one pass from the first to the last."""
        if not offsets:
            return
        # They lie close together, and a search for each would decode a batch each time.
        after, last = min(offsets) - 1, max(offsets)
        while after < last and (found := self.facts(after, limit=_PICKED_AT_ONCE)):
            yield from (fact for offset, fact in found if offset in offsets)
            after = found[-1][0]

    def newest(self) -> list[Fact]:
        """Return the facts of the newest batch, at least one unless the log is empty, without reading the others."""
        head = self._log.head()
        batches = self._log.read(Offset(head - 1), limit=1) if head else []
        return [fact for batch in batches for fact in self._decode(batch)]

    def count(self, after: int, through: int | None = None) -> int:
        """Return how many records lie beyond `after`, to `through` or to the end; never below 0.

        It is exact in a log whose offsets have no gaps, and an estimate in another.
        """
        return max(0, (self._log.head() if through is None else through) - after)

    def forget(self) -> None:
        """Drop the facts held in memory: an erasure has rewritten the log."""
        self._latest = (START, [])

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until the log reaches beyond offset `after`; False when `timeout_s` passes first."""
        deadline = monotonic() + timeout_s
        with self._news:
            # What `wake` said is enough in most rounds and saves a query; the poll finds what another process
            # wrote.
            while self._head <= after:
                self._head = max(self._head, self._log.head())
                left_s = deadline - monotonic()
                if self._head > after or left_s <= 0:
                    break
                self._news.wait(min(left_s, POLL_S))
            return self._head > after

    def wake(self, head: int) -> None:
        """Note that the log has grown to `head`, and end the waits for it; subscribe it to the writer."""
        with self._news:
            self._head = max(self._head, head)
            self._news.notify_all()

    def replay(self, after: int = START) -> Iterator[tuple[int, Fact]]:
        """Yield every fact beyond offset `after` from sealed segments and the log.

        Goes up to the head at the time of the call, or a little beyond.
        """
        # Asked once: behind a log that grows faster than it is read, a moving end would never be reached.
        head = self._log.head()
        if self._segments is not None:
            # Segments first: facts that are sealed and not yet trimmed are then not read a second time from the
            # log.
            for offset, fact in self._segments.replay(after):
                yield offset, fact
                after = offset
        while after < head:
            for offset, fact in self.facts(after, limit=_REPLAY_CHUNK):
                yield offset, fact
                after = offset

    def _decode(self, batch: Batch) -> list[Fact]:
        """Decode `batch`, remembering the latest: a small `limit` comes back for the rest of it."""
        first, facts = self._latest
        if first != batch.first:
            facts = upcast.decode(batch.body, version=batch.version)
            if len(facts) != batch.count:
                raise LogCorrupt(f"the batch at offset {batch.first} miscounts its facts")
            self._latest = batch.first, facts
        return facts

    def _sealed(self, after: int, limit: int) -> list[tuple[int, Fact]]:
        found = [] if self._segments is None else list(islice(self._segments.replay(after), limit))
        if not found or found[0][0] != after + 1:
            raise LogCorrupt(
                f"offset {after + 1} is no longer in the log and in no sealed segment; restore a backup",
                expected=after + 1,
            )
        return found
