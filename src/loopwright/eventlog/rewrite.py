"""Erasure in the log: facts are replaced by facts that say less, at the same offsets.

Nothing else may rewrite the log. Each step leaves a log that can be read whole, and doing all of it again changes
nothing that is done: after a crash the caller begins anew. Batches of the live log are replaced one transaction at a
time. A segment is written under another name, the next manifest names it in place of the old one, and then the old
file is deleted; a file that no manifest names is what a crash left, and is deleted too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from loopwright.core import upcast
from loopwright.core.errors import Unavailable
from loopwright.core.events import Fact
from loopwright.core.ports import START, Batch, EventLog, Offset

from .seal import Segments

Change = Callable[[Fact], Fact]
"""Returns what to keep of a fact: the fact itself when it is to stay."""

_AT_ONCE: Final = 10_000
_TRIES: Final = 50


class Rewriter:
    """Rewrites the log in `log` and `segments`. Nothing may seal meanwhile; facts may be appended and read."""

    def __init__(self, log: EventLog, segments: Segments) -> None:
        self._log = log
        self._segments = segments

    def rewrite(self, change: Change, *, marks: Sequence[bytes]) -> int:
        """Put `change(fact)` in the place of every fact whose bytes hold one of `marks`; return how many changed.

        Once it returns, no file of the log holds what the changed facts held. Raises `Unavailable` when a reader
        keeps the old bytes in the write-ahead log for longer than some seconds.
        """
        changed = self._segments.rewrite(lambda batch: _changed(batch, change, marks))
        counts: list[int] = []

        def batches() -> Iterator[Batch]:
            after, head = START, self._log.head()
            while after < head:
                found = self._log.read(after, limit=_AT_ONCE)
                if not found:
                    return
                for batch in found:
                    new, n = _changed(batch, change, marks)
                    if n:
                        counts.append(n)
                        yield new
                after = Offset(found[-1].last)

        is_gone = self._log.replace(batches())
        for _ in range(_TRIES):
            if is_gone:
                return changed + sum(counts)
            is_gone = self._log.replace([])
        raise Unavailable(
            "something reads the event log for so long that erased facts stay in its write-ahead log; "
            "the erasure is finished once that has ended"
        )


def _changed(batch: Batch, change: Change, marks: Sequence[bytes]) -> tuple[Batch, int]:
    # Most batches are about other people: searching bytes is a hundred times as fast as decoding.
    if not any(mark in batch.body for mark in marks):
        return batch, 0
    facts = upcast.decode(batch.body, version=batch.version)
    new = [change(fact) for fact in facts]
    n = sum([after is not before for after, before in zip(new, facts, strict=True)])
    if not n:
        return batch, 0
    body = upcast.encode(new)
    return msgspec.structs.replace(batch, version=upcast.SCHEMA_VERSION, body=body), n
