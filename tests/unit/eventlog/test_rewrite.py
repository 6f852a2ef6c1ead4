from __future__ import annotations

import pytest

from loopwright.backends.duckdb import Parquet
from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog
from loopwright.core import upcast
from loopwright.core.events import Fact, Ticked
from loopwright.core.ports import START
from loopwright.eventlog import Reader, Rewriter, Sealer, Segments

HEAD = 60


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(MemoryBlobStore):
    """A blob store whose process dies before its n-th change."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def put(self, name: str, content: bytes) -> bool:
        self._age()
        return super().put(name, content)

    def delete(self, name: str) -> None:
        self._age()
        super().delete(name)

    def _age(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def filled(blobs: MemoryBlobStore) -> tuple[MemoryEventLog, Segments]:
    """Two segments of twenty facts, and a log of the rest; every seventh fact is Jane's."""
    log, segments = MemoryEventLog(), Segments(blobs, Parquet())
    for n in range(0, HEAD, 5):
        facts: list[Fact] = [Ticked(k, "jane" if k % 7 == 0 else "ann") for k in range(n, n + 5)]
        log.append(upcast.encode(facts), count=5, version=upcast.SCHEMA_VERSION, keys=[])
    sealer = Sealer(log, segments, consumed=log.head, segment_rows=20, keep=20)
    sealer.seal()
    sealer.trim()
    return log, segments


def hidden(fact: Fact) -> Fact:
    return Ticked(fact.at_ms, "nobody") if fact.tenant_id == "jane" else fact


def content(log: MemoryEventLog, blobs: MemoryBlobStore, segments: Segments) -> bytes:
    named = {segment.name for segment in segments.manifest().parts}
    assert set(blobs.names("facts/")) == named
    sealed = [str(segments.read(segment)) for segment in segments.manifest().parts]
    return "".join(sealed).encode() + b"".join(b.body for b in log.read(START, limit=HEAD))


def test_facts_are_replaced_at_the_same_offsets_in_log_and_segments() -> None:
    blobs = MemoryBlobStore()
    log, segments = filled(blobs)
    reader = Reader(log, segments)
    before = list(reader.replay())
    assert Rewriter(log, segments).rewrite(hidden, marks=[b"jane"]) == 9
    reader.forget()
    assert list(reader.replay()) == [(offset, hidden(fact)) for offset, fact in before]
    assert b"jane" not in content(log, blobs, segments)
    number = segments.manifest().number
    assert Rewriter(log, segments).rewrite(hidden, marks=[b"jane"]) == 0
    assert segments.manifest().number == number


@pytest.mark.parametrize("change", range(1, 9))
def test_a_rewriting_that_was_killed_leaves_a_whole_log_and_can_be_done_again(change: int) -> None:
    blobs = Mortal()
    log, segments = filled(blobs)
    blobs.left = change
    with pytest.raises(Killed):
        Rewriter(log, segments).rewrite(hidden, marks=[b"jane"])
    blobs.left = -1
    assert [offset for offset, _ in Reader(log, segments).replay()] == list(range(1, HEAD + 1))
    Rewriter(log, segments).rewrite(hidden, marks=[b"jane"])
    assert b"jane" not in content(log, blobs, segments)
