from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from loopwright.backends.duckdb import Parquet
from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog
from loopwright.core import upcast
from loopwright.core.clock import SystemClock
from loopwright.core.errors import LogCorrupt
from loopwright.core.events import Fact, Received, Ticked
from loopwright.core.ports import Batch, Offset
from loopwright.eventlog import Reader, Sealer, Segments, Writer


def append(log: MemoryEventLog, *facts: Fact) -> None:
    log.append(upcast.encode(facts), count=len(facts), version=upcast.SCHEMA_VERSION, keys=[])


def filled(batches: int = 4, size: int = 5) -> MemoryEventLog:
    """A log whose fact at each offset has that offset as its time."""
    log = MemoryEventLog()
    for start in range(1, batches * size, size):
        append(log, *(Ticked(n) for n in range(start, start + size)))
    return log


def test_facts_come_in_order_and_never_more_than_asked() -> None:
    reader = Reader(filled())
    assert reader.facts(0, limit=3) == [(n, Ticked(n)) for n in (1, 2, 3)]
    assert reader.facts(3, limit=3) == [(n, Ticked(n)) for n in (4, 5, 6)]
    assert reader.facts(4, limit=100) == [(n, Ticked(n)) for n in range(5, 21)]
    assert reader.facts(20, limit=100) == []


@pytest.mark.parametrize("limit", [1, 2, 5, 7, 100])
def test_paging_with_any_limit_reads_everything_once(limit: int) -> None:
    reader, after, seen = Reader(filled()), 0, []
    while page := reader.facts(after, limit=limit):
        seen += [fact.at_ms for _, fact in page]
        after = page[-1][0]
    assert seen == list(range(1, 21))


def test_a_log_that_ends_before_its_reader_is_corrupt() -> None:
    with pytest.raises(LogCorrupt, match="ends at offset 20, but its reader has already seen"):
        Reader(filled()).facts(21, limit=1)


def test_a_batch_that_miscounts_is_corrupt() -> None:
    log = MemoryEventLog()
    log.append(upcast.encode([Ticked(1)]), count=2, version=upcast.SCHEMA_VERSION, keys=[])
    with pytest.raises(LogCorrupt, match="miscounts"):
        Reader(log).facts(0, limit=1)


@pytest.mark.parametrize("trimmed", [5, 10, 20])
def test_facts_that_left_the_log_come_from_the_segments(trimmed: int) -> None:
    log, segments = filled(), Segments(MemoryBlobStore(), Parquet())
    sealer = Sealer(log, segments, consumed=lambda: Offset(trimmed), segment_rows=10, keep=0)
    sealer.seal()
    assert sealer.trim() == trimmed
    reader = Reader(log, segments)
    assert reader.facts(0, limit=3) == [(n, Ticked(n)) for n in (1, 2, 3)]
    after, seen = 0, []
    while page := reader.facts(after, limit=4):
        seen += [fact.at_ms for _, fact in page]
        after = page[-1][0]
    assert seen == list(range(1, 21))
    assert list(reader.replay(7)) == [(n, Ticked(n)) for n in range(8, 21)]
    with pytest.raises(LogCorrupt, match="offset 1 is no longer in the log"):
        Reader(log).facts(0, limit=1)


def test_waiting_ends_when_the_writer_commits(received: Callable[..., Received]) -> None:
    log = MemoryEventLog()
    reader = Reader(log)
    seen: list[bool] = []
    with closing(Writer(log, SystemClock())) as writer:
        writer.subscribe(reader.wake)
        assert reader.wait(0, timeout_s=0.0) is False
        waiter = threading.Thread(target=lambda: seen.append(reader.wait(0, timeout_s=10.0)))
        waiter.start()
        writer.submit([received(1)], [None], lambda outcome: None)
        waiter.join()
        assert (seen, reader.wait(0, timeout_s=0.0), reader.wait(1, timeout_s=0.0)) == (
            [True],
            True,
            False,
        )


def test_waiting_notices_facts_that_nobody_announced() -> None:
    log = MemoryEventLog()
    reader = Reader(log)
    waiter_started = threading.Event()

    def write() -> None:
        assert waiter_started.wait(10.0)
        append(log, Ticked(1))

    writer = threading.Thread(target=write)
    writer.start()
    waiter_started.set()
    assert reader.wait(0, timeout_s=10.0) is True
    writer.join()


def test_facts_end_where_they_are_to_end() -> None:
    reader = Reader(filled())
    assert [offset for offset, _ in reader.facts(3, limit=100, through=6)] == [4, 5, 6]
    assert reader.facts(3, limit=100, through=3) == []
    assert reader.facts(3, limit=100, through=2) == []
    assert [offset for offset, _ in reader.facts(3, limit=2, through=9)] == [4, 5]


def test_a_fact_is_found_by_its_offset() -> None:
    reader = Reader(filled())
    assert reader.at(7) == Ticked(7)
    assert reader.at(0) is None


class Counting(MemoryEventLog):
    """A log that counts its reads."""

    reads = 0

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        self.reads += 1
        return super().read(after, limit=limit)


def test_facts_are_picked_in_one_pass() -> None:
    log = Counting()
    append(log, *(Ticked(n) for n in range(1, 51)))
    reader = Reader(log)
    assert list(reader.pick({40, 3, 17})) == [Ticked(3), Ticked(17), Ticked(40)]
    assert log.reads == 1
    assert list(reader.pick(set())) == []
    assert list(reader.pick({49, 60})) == [Ticked(49)]


def test_the_newest_facts_are_read_without_the_others() -> None:
    log = Counting()
    assert Reader(log).newest() == []
    append(log, *(Ticked(n) for n in range(1, 6)))
    append(log, Ticked(6), Ticked(7))
    assert Reader(log).newest() == [Ticked(6), Ticked(7)]
    assert log.reads == 1


def test_records_are_counted_and_never_below_none() -> None:
    reader = Reader(filled())
    assert reader.count(5) == 15
    assert reader.count(5, 9) == 4
    assert reader.count(25) == 0
