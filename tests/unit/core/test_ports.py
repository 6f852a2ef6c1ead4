from __future__ import annotations

from loopwright.core.ports import START, Batch, Committed, KeyTaken, Offset


def test_the_last_offset_of_a_batch_counts_from_its_first() -> None:
    assert Batch(first=Offset(5), count=1, version=1, body=b"").last == 5
    assert Batch(first=Offset(5), count=4, version=1, body=b"").last == 8
    assert Batch(first=Offset(START + 1), count=3, version=1, body=b"").last == 3


def test_a_refused_append_names_every_key_that_is_taken_once() -> None:
    refused = KeyTaken([b"a", b"b", b"a"])
    assert refused.keys == {b"a", b"b"}
    assert str(refused) == "2 of the keys are already stored"


def test_the_stored_facts_of_a_commit_are_numbered_without_gaps() -> None:
    committed = Committed(7, [False, True, False])
    assert committed.offsets() == [7, None, 8]
    assert Committed(None, [True, True]).offsets() == [None, None]
