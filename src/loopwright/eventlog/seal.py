"""Old facts move from the live log to Parquet files that any tool can read.

A segment holds a run of facts: typed columns to filter by, each fact's MessagePack exactly as the log had it,
and a JSON rendering for people and SQL. A manifest lists all segments with their digests. Nothing is ever
overwritten: a manifest is a new blob, named by the offset it reaches, and the newest one counts.

The order of the steps (segment, manifest, then trimming the log) means that a crash between any two leaves
every fact readable exactly once: a segment that no manifest names does not exist, and facts that are both
sealed and still in the log are read from one place.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from loopwright.core import upcast
from loopwright.core.errors import LogCorrupt
from loopwright.core.events import Fact
from loopwright.core.ports import Batch, BlobStore, EventLog

MANIFEST_FORMAT: Final = 1

_FACTS: Final = "facts/"
_MANIFESTS: Final = "manifests/"
_raw_facts: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])

_Row = tuple[int, str, str, str | None, str | None, int, int, bytes, str]
_COLUMNS: Final = {
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


class Segment(msgspec.Struct, frozen=True):
    """One sealed run of facts."""

    name: str
    first: int
    last: int
    rows: int
    digest: str
    """SHA-256 of the file, hexadecimal."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All sealed segments, oldest first, without gaps."""

    format: int = MANIFEST_FORMAT
    segments: tuple[Segment, ...] = ()

    @property
    def last(self) -> int:
        """Offset through which facts are sealed; 0 when none are."""
        return self.segments[-1].last if self.segments else 0


class Segments:
    """Reads the sealed part of the log from a blob store."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def manifest(self) -> Manifest:
        """Return the newest manifest. Raises `LogCorrupt` when it cannot be read."""
        names = list(self._blobs.names(_MANIFESTS))
        if not names:
            return Manifest()
        content = self._blobs.get(names[-1]) or b""
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise LogCorrupt(f"{names[-1]} cannot be read: {error}; restore a backup") from error
        if manifest.format > MANIFEST_FORMAT:
            raise LogCorrupt(
                f"{names[-1]} has format {manifest.format}; this program reads up to "
                f"{MANIFEST_FORMAT}: upgrade Loopwright",
                found=manifest.format,
                expected=MANIFEST_FORMAT,
            )
        return manifest

    def replay(self, after: int = 0) -> Iterator[tuple[int, Fact]]:
        """Yield the sealed facts beyond offset `after`, each with its offset."""
        for segment in self.manifest().segments:
            if segment.last > after:
                yield from self.read(segment, after=after)

    def read(self, segment: Segment, *, after: int = 0) -> list[tuple[int, Fact]]:
        """Return the facts of `segment` beyond offset `after`, each with its offset.

        Raises `LogCorrupt` when the file is missing, does not match its digest or holds other facts.
        """
        rows = _read_parquet(self.content(segment), after)
        offsets = [offset for offset, _, _ in rows]
        if offsets != list(range(max(segment.first, after + 1), segment.last + 1)):
            raise LogCorrupt(
                f"{segment.name} does not hold offsets {segment.first} to {segment.last}"
            )
        facts: list[Fact] = []
        for version, run in groupby(rows, key=itemgetter(1)):
            bodies = [body for _, _, body in run]
            facts += upcast.decode(_array_header(len(bodies)) + b"".join(bodies), version=version)
        return list(zip(offsets, facts, strict=True))

    def content(self, segment: Segment) -> bytes:
        """Return the file of `segment`. Raises `LogCorrupt` when it is not the file that was sealed."""
        content = self._blobs.get(segment.name)
        if content is None:
            raise LogCorrupt(f"{segment.name} is missing; restore it from a backup")
        found = hashlib.sha256(content).hexdigest()
        if found != segment.digest:
            raise LogCorrupt(
                f"{segment.name} has digest {found}, not {segment.digest}; restore it from a backup",
                found=found,
                expected=segment.digest,
            )
        return content

    def add(self, batches: Iterable[Batch]) -> Segment:
        """Store `batches` as the next segment and publish a manifest that names it."""
        manifest = self.manifest()
        rows = [row for batch in batches for row in _rows(batch)]
        first, last = rows[0][0], rows[-1][0]
        if first != manifest.last + 1 or len(rows) != last - first + 1:
            raise LogCorrupt(
                f"facts {first} to {last} do not continue the segments, which end at {manifest.last}"
            )
        content = _write_parquet(rows)
        segment = Segment(
            name=f"{_FACTS}{first:020}-{last:020}.parquet",
            first=first,
            last=last,
            rows=len(rows),
            digest=hashlib.sha256(content).hexdigest(),
        )
        # A file of this name is what a crash left behind before any manifest named it.
        self._blobs.delete(segment.name)
        self._blobs.put(segment.name, content)
        self.content(segment)
        grown = Manifest(segments=(*manifest.segments, segment))
        self._blobs.put(f"{_MANIFESTS}{last:020}.json", msgspec.json.encode(grown))
        return segment

    def tidy(self) -> None:
        """Delete manifests that newer ones replace; the one before the newest stays for who just looked."""
        for name in list(self._blobs.names(_MANIFESTS))[:-2]:
            self._blobs.delete(name)


class Sealer:
    """Moves facts from the live log into segments, and trims the log behind everyone's back but not before.

    `consumed` says through which offset every consumer has come. The newest `keep` facts stay in the log.
    """

    def __init__(
        self,
        log: EventLog,
        segments: Segments,
        *,
        consumed: Callable[[], int],
        segment_rows: int = 50_000,
        keep: int = 200_000,
    ) -> None:
        self._log = log
        self._segments = segments
        self._consumed = consumed
        self._segment_rows = segment_rows
        self._keep = keep

    def seal(self) -> list[Segment]:
        """Seal every full segment that has left the newest `keep` facts; return the new segments."""
        made = []
        end = self._log.head() - self._keep
        last = self._segments.manifest().last
        while end - last >= self._segment_rows:
            made.append(self._segments.add(self._log.read(last, limit=self._segment_rows)))
            last = made[-1].last
        self._segments.tidy()
        return made

    def trim(self) -> int:
        """Drop from the log what is sealed and consumed, but for the newest `keep`; return facts dropped."""
        sealed = self._segments.manifest().last
        return self._log.trim(min(sealed, self._consumed(), self._log.head() - self._keep))


def _rows(batch: Batch) -> Iterator[_Row]:
    facts = upcast.decode(batch.body, version=batch.version)
    # The bytes as they are: an upcast fact would no longer be what was written.
    bodies = _raw_facts.decode(batch.body)
    for offset, (fact, body) in enumerate(zip(facts, bodies, strict=True), batch.first):
        decision = getattr(fact, "decision", fact)
        yield (
            offset,
            str(fact.__struct_config__.tag),
            fact.tenant_id,
            getattr(decision, "experiment_id", None),
            getattr(decision, "id", None),
            fact.at_ms,
            batch.version,
            bytes(body),
            msgspec.json.encode(_plain(fact)).decode(),
        )


def _plain(value: Any) -> Any:
    """Structs as objects with field names: the arrays of the log are for machines."""
    if not isinstance(value, msgspec.Struct):
        return value
    plain = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    tag = value.__struct_config__.tag
    return plain if tag is None else {"kind": tag, **plain}


def _write_parquet(rows: list[_Row]) -> bytes:
    # Both are heavy to import, and sealing is rare.
    import duckdb
    import numpy as np

    columns = {
        name: np.array(values, dtype=np.int64 if kind in ("BIGINT", "INTEGER") else object)
        for (name, kind), values in zip(_COLUMNS.items(), zip(*rows, strict=True), strict=True)
    }
    casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in _COLUMNS.items())
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(config={"threads": 1}) as connection,
    ):
        path = Path(folder) / "segment.parquet"
        connection.register("facts", columns)
        connection.execute(
            f"COPY (SELECT {casts} FROM facts) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608 - our own names
        )
        return path.read_bytes()


def _read_parquet(content: bytes, after: int) -> list[tuple[int, int, bytes]]:
    import duckdb

    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(config={"threads": 1}) as connection,
    ):
        path = Path(folder) / "segment.parquet"
        path.write_bytes(content)
        return connection.execute(
            'SELECT "offset", schema_version, body FROM read_parquet(?) '
            'WHERE "offset" > ? ORDER BY "offset"',
            [str(path), after],
        ).fetchall()


def _array_header(n: int) -> bytes:
    """The MessagePack header of an array of `n` items."""
    return struct.pack(">BI", 0xDD, n)
