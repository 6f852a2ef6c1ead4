"""The numbered manifests of the warehouse: its files, and the log offset through which facts are in them.

Data and position move in one step, the publication of a manifest. A file that the newest one does not name does not
exist.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from loopwright.core import parts
from loopwright.core.errors import Broken, PartCorrupt
from loopwright.core.ports import BlobStore, QueryEngine

from .tables import TABLES_VERSION

OLD_NAME: Final = "manifest.json"
"""Where the manifest was until December 2026: one file, replaced each time."""

_REMEDY: Final = "delete the warehouse's folder, and it is rebuilt from the log"

_logger = logging.getLogger(__name__)


class WarehouseCorrupt(Broken):
    """A file of the warehouse is missing or is not what was written; it can be rebuilt from the log."""

    code = "warehouse_corrupt"


class File(parts.Part, frozen=True, kw_only=True):
    """One immutable Parquet file: rows of one table that reached us on one day, or in one week that is over."""

    table: str
    day: str
    """The first day in it."""
    from_ms: int
    """Earliest event time in it."""
    to_ms: int
    settled: int = 0
    """Log offset through which erasures and changes of consent are worked into it."""
    until: str = ""
    """The last day in it; empty when that is the first."""
    withheld: int | None = None
    """Rows that the consent given with them keeps out of reports; None when not counted."""


class Dropped(msgspec.Struct, frozen=True):
    """A file that others replaced; it stays for a while, for readers that have it open."""

    name: str
    at_ms: int


class Manifest(parts.Manifest, frozen=True, kw_only=True):
    """All files, and the log offset through which facts are in them."""

    format: int = TABLES_VERSION
    watermark: int = 0
    parts: tuple[File, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def between(
        self, table: str, start: int, end: int, *, all_count: bool
    ) -> tuple[list[File], list[File]]:
        """Return a table's files with rows of that time: those wholly in it whose every row counts, and the others.

        `all_count` says that nobody's rows are left out because of their consent.
        """
        whole: list[File] = []
        others: list[File] = []
        for file in self.parts:
            if file.table == table and file.to_ms >= start and file.from_ms < end:
                is_inside = start <= file.from_ms and file.to_ms < end
                is_whole = is_inside and file.withheld == 0 and all_count
                (whole if is_whole else others).append(file)
        return whole, others


class _OldFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    table: str
    day: str
    rows: int
    size: int
    sha256: str
    first: int
    last: int
    from_ms: int
    to_ms: int
    settled: int = 0
    until: str = ""
    withheld: int | None = None


class _OldManifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int = TABLES_VERSION
    watermark: int = 0
    files: tuple[_OldFile, ...] = ()
    dropped: tuple[Dropped, ...] = ()


def read(blobs: BlobStore) -> Manifest:
    """Return the newest manifest, an empty one when there is none.

    Raises `WarehouseCorrupt` when it cannot be read, `Broken` when it is newer than this program.
    """
    try:
        found = parts.newest(blobs, Manifest, format=TABLES_VERSION)
        return found or _old(blobs) or Manifest()
    except parts.ManifestUnreadable as error:
        # Made by a newer program, so nothing is damaged.
        if "found" in error.detail:
            raise
        raise WarehouseCorrupt(f"{error.message}; {_REMEDY}") from error


def adopt(blobs: BlobStore) -> Manifest:
    """Return the newest manifest, after publishing a manifest of the earlier form in the new one; the old file stays."""
    found = read(blobs)
    # An empty warehouse has nothing to adopt; its first load takes number 1.
    if found.number or found == Manifest():
        return found
    adopted = publish(blobs, found)
    _logger.info(
        "the warehouse's manifest has a new form; the old file is kept as a backup",
        extra={"backup": OLD_NAME, "manifest": parts.name_of(adopted.number)},
    )
    return adopted


def publish(blobs: BlobStore, found: Manifest, **changes: object) -> Manifest:
    """Publish the manifest that follows `found` with `changes`, and return it.

    Raises `StaleVersion` when another was published since `found` was read.
    """
    new = found.following(**changes)
    parts.publish(blobs, new, expect=found.number)
    # After the publication: a crash in between leaves one manifest too many and never one too few.
    parts.tidy(blobs)
    return new


def check(engine: QueryEngine, file: File) -> None:
    """Raise `WarehouseCorrupt` unless `file` exists with the digest that was written."""
    # The size is no proof: a disk that returns a wrong block keeps it.
    found = engine.digest(file.name)
    if found is None:
        raise missing(file)
    if found != file.digest:
        raise WarehouseCorrupt(
            f"{file.name} has digest {found}, not {file.digest}; {_REMEDY}",
            found=found,
            expected=file.digest,
        )


def missing(file: File) -> WarehouseCorrupt:
    """Return the error for a file that is not there."""
    return WarehouseCorrupt(f"{file.name} is missing; {_REMEDY}")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the engine's error about a file into one that says how to recover."""
    try:
        yield
    except PartCorrupt as error:
        raise WarehouseCorrupt(f"{what}: {error.message}; {_REMEDY}") from error


def _old(blobs: BlobStore) -> Manifest | None:
    """Return the manifest of the earlier form, as number 0."""
    content = blobs.get(OLD_NAME)
    if content is None:
        return None
    old = parts.decode(content, _OldManifest, format=TABLES_VERSION, name=OLD_NAME)
    files = tuple(
        File(
            name=f.name,
            rows=f.rows,
            size=f.size,
            digest=f.sha256,
            first=f.first,
            last=f.last,
            table=f.table,
            day=f.day,
            from_ms=f.from_ms,
            to_ms=f.to_ms,
            settled=f.settled,
            until=f.until,
            withheld=f.withheld,
        )
        for f in old.files
    )
    return Manifest(format=old.format, watermark=old.watermark, parts=files, dropped=old.dropped)
