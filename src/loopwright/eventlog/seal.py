"""Old facts move from the live log to Parquet files that any tool can read.

A segment holds a run of facts: typed columns to filter by, each fact's MessagePack exactly as the log had it,
and a JSON rendering for people and SQL. The numbered manifests of `core.parts` list all segments with their digests.

The order of the steps (segment, manifest, then trimming the log) means that a crash between any two leaves
every fact readable exactly once: a segment that no manifest names does not exist, and facts that are both
sealed and still in the log are read from one place.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from loopwright.core import parts, upcast
from loopwright.core.errors import LogCorrupt, PartCorrupt, StaleVersion
from loopwright.core.events import Fact
from loopwright.core.ports import START, Batch, BlobStore, Columnar, EventLog, Offset

_FACTS: Final = "facts/"
_OLD_MANIFESTS: Final = "manifests/"
_raw_facts: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])

_Row = tuple[int, str, str, str | None, str | None, int, int, bytes, str]
# The offset stands first: `Columnar.decode` filters and sorts by the first column.
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


_logger = logging.getLogger(__name__)

Segment = parts.Part
"""One sealed run of facts."""


class Manifest(parts.Manifest, frozen=True, kw_only=True):
    """All sealed segments, oldest first, each beginning where the one before ends."""

    @property
    def last(self) -> Offset:
        """Offset through which facts are sealed; 0 when none are."""
        return Offset(self.parts[-1].last if self.parts else 0)


class _OldSegment(msgspec.Struct, frozen=True):
    name: str
    first: int
    last: int
    rows: int
    digest: str


class _OldManifest(msgspec.Struct, frozen=True):
    """Until December 2026 a manifest was named by the offset it reached."""

    format: int = 1
    segments: tuple[_OldSegment, ...] = ()


class Segments:
    """Reads and extends the sealed part of the log in a blob store; `columnar` reads and writes its files."""

    def __init__(self, blobs: BlobStore, columnar: Columnar) -> None:
        self._blobs = blobs
        self._columnar = columnar

    def manifest(self) -> Manifest:
        """Return the newest manifest. Raises `LogCorrupt` when it cannot be read."""
        try:
            found = parts.newest(self._blobs, Manifest)
            return found or self._old() or Manifest()
        except parts.ManifestUnreadable as error:
            raise LogCorrupt(f"{error.message}; restore a backup") from error

    def adopt(self) -> Manifest:
        """Return the newest manifest, after publishing anew one of the earlier form; the old file stays."""
        found = self.manifest()
        if found.number or not found.parts:
            return found
        adopted = found.following()
        try:
            # Number 1 can be published once; of two processes that adopt at the same time, the second reads the
            # first's.
            parts.publish(self._blobs, adopted, expect=0)
        except StaleVersion:
            return self.manifest()
        _logger.info(
            "the segments' manifest has a new form; the old file is kept as a backup",
            extra={"backup": self._old_name(), "manifest": parts.name_of(adopted.number)},
        )
        return adopted

    def replay(self, after: int = START) -> Iterator[tuple[int, Fact]]:
        """Yield the sealed facts beyond offset `after`, each with its offset."""
        while True:
            # Read anew for each: an erasure deletes the file of a segment that it has put another in the place of.
            segments = self.manifest().parts
            segment = next((segment for segment in segments if segment.last > after), None)
            if segment is None:
                return
            try:
                facts = self.read(segment, after=after)
            except LogCorrupt:
                if segment in self.manifest().parts:
                    raise
                continue
            yield from facts
            after = segment.last

    def read(self, segment: Segment, *, after: int = START) -> list[tuple[int, Fact]]:
        """Return the facts of `segment` beyond offset `after`, each with its offset.

        Raises `LogCorrupt` when the file is missing, does not match its digest or holds other facts.
        """
        try:
            rows = self._columnar.decode(
                self.content(segment), ("offset", "schema_version", "body"), after=after
            )
        except PartCorrupt as error:
            raise LogCorrupt(
                f"{segment.name}: {error.message}; restore it from a backup"
            ) from error
        # The digest proves that these are the sealed bytes; this, that they are the facts that the manifest
        # names.
        offsets = [offset for offset, _, _ in rows]
        if offsets != list(range(max(segment.first, after + 1), segment.last + 1)):
            raise LogCorrupt(
                f"{segment.name} does not hold offsets {segment.first} to {segment.last}"
            )
        facts: list[Fact] = []
        # A segment may span an upgrade. Facts of one version are joined into one array, so the decoder runs
        # once per version and not once per fact.
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
        manifest = self.adopt()
        rows = [row for batch in batches for row in _rows(batch)]
        first, last = rows[0][0], rows[-1][0]
        if first != manifest.last + 1 or len(rows) != last - first + 1:
            raise LogCorrupt(
                f"facts {first} to {last} do not continue the segments, which end at {manifest.last}"
            )
        # Twenty digits hold every offset of 64 bits, so the names sort as the offsets do.
        segment = self._stored(f"{_FACTS}{first:020}-{last:020}.parquet", rows)
        grown = manifest.following(parts=(*manifest.parts, segment))
        parts.publish(self._blobs, grown, expect=manifest.number)
        return segment

    def rewrite(self, change: Callable[[Batch], tuple[Batch, int]]) -> int:
        """Put what `change` returns in the place of the facts of every segment; return how many it changed.

        Each replaced segment is published before its old file is deleted. Files that no manifest names are deleted.
        """
        manifest = self.adopt()
        changed = 0
        for place, segment in enumerate(manifest.parts):
            made = [change(batch) for batch in self._batches(segment)]
            n = sum(count for _, count in made)
            if n:
                rows = [row for batch, _ in made for row in _rows(batch)]
                name = f"{_FACTS}{segment.first:020}-{segment.last:020}-{manifest.number + 1:012}.parquet"
                new = self._stored(name, rows)
                replaced = (*manifest.parts[:place], new, *manifest.parts[place + 1 :])
                grown = manifest.following(parts=replaced)
                parts.publish(self._blobs, grown, expect=manifest.number)
                manifest = grown
                changed += n
        named = {segment.name for segment in manifest.parts}
        for name in [name for name in self._blobs.names(_FACTS) if name not in named]:
            self._blobs.delete(name)
        return changed

    def _batches(self, segment: Segment) -> Iterator[Batch]:
        """Return the facts of `segment` as batches, each of one schema version."""
        columns = ("offset", "schema_version", "body")
        rows = self._columnar.decode(self.content(segment), columns, after=START)
        for version, run in groupby(rows, key=itemgetter(1)):
            same = list(run)
            body = _array_header(len(same)) + b"".join([row[2] for row in same])
            yield Batch(first=Offset(same[0][0]), count=len(same), version=version, body=body)

    def _stored(self, name: str, rows: Sequence[_Row]) -> Segment:
        """Store `rows` as the file `name`, not yet named by a manifest."""
        content = self._columnar.encode(_COLUMNS, rows)
        first, last = rows[0][0], rows[-1][0]
        segment = Segment(
            name=name,
            first=first,
            last=last,
            rows=len(rows),
            size=len(content),
            digest=hashlib.sha256(content).hexdigest(),
        )
        # A file of this name is what a crash left behind before any manifest named it.
        self._blobs.delete(name)
        self._blobs.put(name, content)
        # Read back before a manifest names it: trimming then deletes the only other copy.
        self.content(segment)
        return segment

    def tidy(self) -> None:
        """Delete manifests that newer ones have replaced."""
        parts.tidy(self._blobs)

    def _old_name(self) -> str | None:
        names = self._blobs.names(_OLD_MANIFESTS)
        return max((name for name in names if not name.startswith(parts.PREFIX)), default=None)

    def _old(self) -> Manifest | None:
        """Return the newest manifest of the earlier form."""
        name = self._old_name()
        content = None if name is None else self._blobs.get(name)
        if name is None or content is None:
            return None
        old = parts.decode(content, _OldManifest, format=1, name=name)
        return Manifest(
            parts=tuple(
                # The earlier form kept no sizes.
                Segment(
                    name=s.name, rows=s.rows, size=0, digest=s.digest, first=s.first, last=s.last
                )
                for s in old.segments
            )
        )


class Sealer:
    """Moves facts from the live log into segments, and trims from the log what all consumers have read.

    `consumed` returns the offset through which every consumer has come. The newest `keep` facts stay in the log.
    """

    def __init__(
        self,
        log: EventLog,
        segments: Segments,
        *,
        consumed: Callable[[], Offset],
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
        last: Offset = self._segments.adopt().last
        # Only full segments: many small files would make every replay and every query over them slower.
        while end - last >= self._segment_rows:
            made.append(self._segments.add(self._log.read(last, limit=self._segment_rows)))
            last = Offset(made[-1].last)
        self._segments.tidy()
        return made

    def trim(self) -> int:
        """Drop from the log what is sealed and consumed, but for the newest `keep`; return facts dropped."""
        sealed = self._segments.manifest().last
        # The least of the three: trimming beyond `sealed` would lose facts, and beyond `consumed` send a live
        # consumer to the segments.
        return self._log.trim(min(sealed, self._consumed(), Offset(self._log.head() - self._keep)))


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


def _array_header(n: int) -> bytes:
    """The MessagePack header of an array of `n` items."""
    # The form `array 32`, which takes any length in five bytes; MessagePack lets a writer use a longer form
    # than needed.
    return struct.pack(">BI", 0xDD, n)
