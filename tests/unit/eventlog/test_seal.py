from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest

from loopwright.backends.duckdb import Parquet
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog
from loopwright.core import parts, upcast
from loopwright.core.errors import LogCorrupt
from loopwright.core.events import Changed, Decided, Fact, Received, RolledBack, Ticked
from loopwright.core.ports import START, Offset
from loopwright.eventlog import Reader, Sealer, Segments


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(MemoryBlobStore):
    """A blob store whose process dies before its n-th change."""

    def __init__(self, *, dies_before: int = 0) -> None:
        super().__init__()
        self.changes = 0
        self._dies_before = dies_before

    def dies_before(self, change: int) -> None:
        self.changes, self._dies_before = 0, change

    def put(self, name: str, content: bytes) -> bool:
        self._age()
        return super().put(name, content)

    def delete(self, name: str) -> None:
        self._age()
        super().delete(name)

    def _age(self) -> None:
        self.changes += 1
        if self.changes == self._dies_before:
            raise Killed


def facts_of_every_kind(
    received: Callable[..., Received], decided: Callable[..., Decided]
) -> list[Fact]:
    return [
        decided(1),
        received(1, 0.25),
        Ticked(1_750_000_000_100),
        RolledBack(1_750_000_000_200, "default", "greeting", 1, b"\0\xff", "ann"),
        Changed(1_750_000_000_300, "default", "ann", "experiment/greeting", "pause", {"a": [1]}),
    ]


def fill(log: MemoryEventLog, facts: list[Fact], *, size: int) -> None:
    for start in range(0, len(facts), size):
        chunk = facts[start : start + size]
        log.append(upcast.encode(chunk), count=len(chunk), version=upcast.SCHEMA_VERSION, keys=[])


def sealer(
    log: MemoryEventLog, segments: Segments, *, consumed: int = 10**9, rows: int = 10, keep: int = 0
) -> Sealer:
    return Sealer(log, segments, consumed=lambda: Offset(consumed), segment_rows=rows, keep=keep)


def test_sealed_facts_come_back_equal(
    received: Callable[..., Received], decided: Callable[..., Decided], tmp_path: Path
) -> None:
    facts = facts_of_every_kind(received, decided) * 20
    log, segments = MemoryEventLog(), Segments(FolderBlobStore(tmp_path), Parquet())
    fill(log, facts, size=7)
    made = sealer(log, segments, rows=30, keep=20).seal()
    assert [(s.first, s.last, s.rows) for s in made] == [(1, 35, 35), (36, 70, 35)]
    assert segments.manifest().parts == tuple(made)
    assert [fact for _, fact in segments.replay()] == facts[:70]
    assert list(segments.replay(after=34))[:2] == [(35, facts[34]), (36, facts[35])]


def test_a_segment_has_columns_that_any_tool_can_filter_by(
    received: Callable[..., Received], decided: Callable[..., Decided], tmp_path: Path
) -> None:
    facts = facts_of_every_kind(received, decided)
    log, segments = MemoryEventLog(), Segments(FolderBlobStore(tmp_path), Parquet())
    fill(log, facts, size=5)
    (segment,) = sealer(log, segments, rows=5).seal()
    with duckdb.connect() as connection:
        table = connection.from_parquet(str(tmp_path / segment.name))
        assert dict(zip(table.columns, map(str, table.types), strict=True)) == {
            "offset": "BIGINT",
            "kind": "VARCHAR",
            "tenant_id": "VARCHAR",
            "experiment_id": "VARCHAR",
            "decision_id": "VARCHAR",
            "at_ms": "BIGINT",
            "schema_version": "INTEGER",
            "body": "BLOB",
            "json": "VARCHAR",
        }
        rows = table.fetchall()
    assert [row[:6] for row in rows] == [
        (1, "decided", "default", "greeting", f"{1:032x}", 1_750_000_000_001),
        (2, "received", "default", "greeting", f"{1:032x}", 1_750_000_100_001),
        (3, "ticked", "", None, None, 1_750_000_000_100),
        (4, "rolled_back", "default", "greeting", None, 1_750_000_000_200),
        (5, "changed", "default", None, None, 1_750_000_000_300),
    ]
    rendering = json.loads(rows[1][8])
    assert rendering["kind"] == "received"
    assert rendering["feedback"] == {"kind": "outcome", "metric": "reward", "value": 0.25}
    assert rendering["decision"]["arm_id"] == "warm"
    assert [msgspec.msgpack.decode(row[7]) for row in rows] == msgspec.msgpack.decode(
        upcast.encode(facts)
    )


def test_only_full_segments_beyond_the_kept_tail_are_sealed(
    decided: Callable[..., Decided],
) -> None:
    log, segments = MemoryEventLog(), Segments(MemoryBlobStore(), Parquet())
    fill(log, [decided(n) for n in range(39)], size=1)
    assert [s.last for s in sealer(log, segments, rows=10, keep=10).seal()] == [10, 20]
    assert sealer(log, segments, rows=10, keep=10).seal() == []
    fill(log, [decided(39)], size=1)
    assert [s.last for s in sealer(log, segments, rows=10, keep=10).seal()] == [30]


@pytest.mark.parametrize(
    ("consumed", "keep", "left_from"), [(0, 0, 1), (25, 0, 26), (99, 0, 31), (99, 15, 26)]
)
def test_only_what_is_sealed_and_consumed_and_old_leaves_the_log(
    decided: Callable[..., Decided], consumed: int, keep: int, left_from: int
) -> None:
    log, segments = MemoryEventLog(), Segments(MemoryBlobStore(), Parquet())
    fill(log, [decided(n) for n in range(40)], size=1)
    sealer(log, segments, keep=10).seal()
    assert sealer(log, segments, consumed=consumed, keep=keep).trim() == left_from - 1
    assert log.read(START, limit=1)[0].first == left_from


CHANGES = 9
"""What sealing three segments takes: each clears, writes and is published."""


def test_the_number_of_steps_is_right(decided: Callable[..., Decided]) -> None:
    log, blobs = MemoryEventLog(), Mortal()
    fill(log, [decided(n) for n in range(30)], size=5)
    sealer(log, Segments(blobs, Parquet())).seal()
    assert blobs.changes == CHANGES


@pytest.mark.parametrize("step", range(1, CHANGES + 1))
def test_a_crash_before_any_step_loses_and_doubles_nothing(
    decided: Callable[..., Decided], step: int
) -> None:
    facts: list[Fact] = [decided(n) for n in range(30)]
    log, blobs = MemoryEventLog(), Mortal(dies_before=step)
    fill(log, facts, size=5)
    with pytest.raises(Killed):
        sealer(log, Segments(blobs, Parquet())).seal()
    sealer(log, Segments(blobs, Parquet()), consumed=20).trim()
    assert list(Reader(log, Segments(blobs, Parquet())).replay()) == list(enumerate(facts, 1))
    sealer(log, Segments(blobs, Parquet())).seal()
    assert sealer(log, Segments(blobs, Parquet())).trim() > 0
    assert log.read(START, limit=1) == []
    assert list(Reader(log, Segments(blobs, Parquet())).replay()) == list(enumerate(facts, 1))
    assert len(list(blobs.names("facts/"))) == 3


def old_form(blobs: MemoryBlobStore) -> None:
    """Put the manifest of the form before numbered ones in place of the numbered."""
    found = Segments(blobs, Parquet()).manifest()
    old = [
        {"name": s.name, "first": s.first, "last": s.last, "rows": s.rows, "digest": s.digest}
        for s in found.parts
    ]
    for n in (1, 2, 3):
        blobs.delete(parts.name_of(n))
        blobs.put(
            f"manifests/{old[n - 1]['last']:020}.json",
            msgspec.json.encode({"format": 1, "segments": old[:n]}),
        )


@pytest.mark.parametrize("step", range(5))
def test_a_folder_of_the_earlier_form_is_adopted_and_kept_whatever_happens_meanwhile(
    decided: Callable[..., Decided], step: int
) -> None:
    facts: list[Fact] = [decided(n) for n in range(40)]
    log, blobs = MemoryEventLog(), Mortal()
    fill(log, facts, size=5)
    sealer(log, Segments(blobs, Parquet()), keep=10).seal()
    sealer(log, Segments(blobs, Parquet()), keep=10).trim()
    old_form(blobs)
    kept = {name: blobs.get(name) for name in blobs.names()}
    assert [fact for _, fact in Segments(blobs, Parquet()).replay()] == facts[:30]
    assert set(blobs.names()) == set(kept), "reading changes nothing"
    if step:
        blobs.dies_before(step)
        with pytest.raises(Killed):
            sealer(log, Segments(blobs, Parquet())).seal()
    assert list(Reader(log, Segments(blobs, Parquet())).replay()) == list(enumerate(facts, 1))
    sealer(log, Segments(blobs, Parquet())).seal()
    assert list(Reader(log, Segments(blobs, Parquet())).replay()) == list(enumerate(facts, 1))
    assert Segments(blobs, Parquet()).manifest().last == 40
    assert Segments(blobs, Parquet()).manifest().number == 2
    assert {name: blobs.get(name) for name in kept} == kept


@pytest.fixture
def sealed(decided: Callable[..., Decided], tmp_path: Path) -> Segments:
    log, segments = MemoryEventLog(), Segments(FolderBlobStore(tmp_path), Parquet())
    fill(log, [decided(n) for n in range(20)], size=5)
    sealer(log, segments).seal()
    return segments


def test_a_segment_that_changed_is_refused(sealed: Segments, tmp_path: Path) -> None:
    path = tmp_path / sealed.manifest().parts[1].name
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    replay = sealed.replay()
    assert [next(replay)[0] for _ in range(10)] == list(range(1, 11))
    with pytest.raises(LogCorrupt, match="has digest"):
        next(replay)


def test_a_segment_that_is_gone_is_missed(sealed: Segments, tmp_path: Path) -> None:
    (tmp_path / sealed.manifest().parts[0].name).unlink()
    with pytest.raises(LogCorrupt, match="is missing"):
        next(sealed.replay())


def test_a_manifest_that_cannot_be_read_is_refused(sealed: Segments, tmp_path: Path) -> None:
    newest = max((tmp_path / "manifests").iterdir())
    newest.write_text("{")
    with pytest.raises(LogCorrupt, match="cannot be read"):
        sealed.manifest()
    newest.write_text('{"format": 2}')
    with pytest.raises(LogCorrupt, match="upgrade"):
        sealed.manifest()


def test_facts_that_do_not_continue_the_segments_are_refused(sealed: Segments) -> None:
    log = MemoryEventLog()
    fill(log, [Ticked(n) for n in range(30)], size=5)
    with pytest.raises(LogCorrupt, match="do not continue the segments, which end at 20"):
        sealed.add(log.read(Offset(25), limit=5))


def test_facts_written_with_fewer_fields_come_back_with_the_defaults() -> None:
    old = msgspec.msgpack.encode([["ticked", 7], ["ticked", 8, "acme"]])
    log = MemoryEventLog()
    log.append(old, count=2, version=upcast.SCHEMA_VERSION, keys=[])
    segments = Segments(MemoryBlobStore(), Parquet())
    segment = segments.add(log.read(START, limit=2))
    assert segments.read(segment) == [(1, Ticked(7)), (2, Ticked(8, "acme"))]
