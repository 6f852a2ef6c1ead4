from __future__ import annotations

from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog, memory_database
from loopwright.core.ports import START, Offset


def log_of(*sizes: int) -> MemoryEventLog:
    log = MemoryEventLog()
    for n, size in enumerate(sizes):
        log.append(b"%d" % n, count=size, version=1, keys=[b"k%d" % n])
    return log


def test_offsets_go_on_without_gaps_and_after_trimming_too() -> None:
    log = log_of(3, 2)
    assert [(b.first, b.last) for b in log.read(START, limit=9)] == [(1, 3), (4, 5)]
    assert log.trim(Offset(5)) == 5
    assert log.append(b"", count=1, version=1, keys=[]) == 6


def test_reading_from_the_middle_of_a_batch_returns_it_whole() -> None:
    log = log_of(3, 2, 4)
    assert [b.body for b in log.read(Offset(2), limit=1)] == [b"0"]
    assert [b.body for b in log.read(Offset(2), limit=2)] == [b"0", b"1"]
    assert [b.body for b in log.read(Offset(3), limit=3)] == [b"1", b"2"]
    assert log.read(Offset(9), limit=1) == []


def test_only_whole_batches_are_dropped_and_their_keys_stay() -> None:
    log = log_of(3, 2)
    assert (log.trim(Offset(2)), log.trim(Offset(4)), log.head()) == (0, 3, 5)
    assert log.taken([b"k0", b"k1", b"new"]) == {b"k0", b"k1"}


def test_a_claim_takes_the_new_keys_and_names_the_old_ones() -> None:
    log = log_of(1)
    assert log.claim([b"k0", b"x"]) == {b"k0"}
    assert log.claim([b"x", b"y"]) == {b"x"}


def test_a_taken_name_keeps_its_first_content() -> None:
    blobs = MemoryBlobStore()
    assert blobs.put("b/2", b"first")
    assert not blobs.put("b/2", b"second")
    assert blobs.put("b/1", b"")
    assert (blobs.get("b/2"), blobs.get("b/1"), blobs.get("c")) == (b"first", b"", None)


def test_names_are_sorted_and_may_be_deleted_while_they_are_listed() -> None:
    blobs = MemoryBlobStore()
    for name in ("b/2", "a", "b/1"):
        blobs.put(name, b"")
    listed = []
    for name in blobs.names("b/"):
        listed.append(name)
        blobs.delete(name)
        blobs.delete(name)
    assert (listed, list(blobs.names())) == (["b/1", "b/2"], ["a"])


def test_databases_in_memory_share_nothing() -> None:
    first, second = memory_database(), memory_database()
    with first.transaction() as session:
        session.execute("CREATE TABLE t (n INTEGER)")
    with second.transaction() as session:
        session.execute("CREATE TABLE t (n INTEGER)")
    first.close()
    second.close()
