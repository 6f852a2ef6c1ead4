"""The consumer named `warehouse`: projects stretches of the log into Parquet files, and tends them.

Each stretch becomes at most one file per table and day; then one manifest names them together with the offset they
reach. Wherever a crash stops this, log and manifest say where to go on: files that no manifest names are deleted at
the next run, so no fact is lost and none counts twice.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, Final

import msgspec

from loopwright.core.clock import DAY_MS, Clock
from loopwright.core.errors import Conflict, StaleVersion
from loopwright.core.ports import BlobStore, Database, Lease, QueryEngine
from loopwright.eventlog import Consumers, Reader

from . import layout, manifest
from .manifest import File, Manifest
from .project import project
from .tables import TABLES, TABLES_VERSION
from .upkeep import Upkeep, day_of

CONSUMER: Final = "warehouse"
FOLDER: Final = "warehouse"
"""Where its files are, within the blobs of a loop."""
LEASE: Final = "loader"

_AT_ONCE: Final = 10_000
"""Facts held as objects at a time."""

_LEASE_S: Final = 3600.0
"""Longer than any run that is not stuck: it is renewed with each manifest."""

_OLD_SCRATCH: Final = ".staged-"
"""Scratch files that versions before December 2026 left here when they were killed."""


class LoaderBusy(Conflict):
    """Another loader works on this warehouse."""

    code = "warehouse_busy"


class Loaded(msgspec.Struct, frozen=True):
    """The result of one run."""

    facts: int
    watermark: int
    compacted: int = 0
    """Files that were merged or cleaned into others."""
    expired: int = 0
    """Files dropped by retention."""


_Lines = defaultdict[tuple[str, int], defaultdict[str, list[bytes]]]
"""Encoded rows by table and day since the epoch, and within them by tenant."""


class _Stretch(msgspec.Struct, frozen=True):
    """Rows of a run of facts."""

    first: int
    last: int
    count: int
    rows: _Lines


class Loader:
    """Projects the log into the files in `blobs`; `engine` opens an engine over the same place for each run.

    A day's files are merged when there are more than `most_files`, or the day is over; a week's, once it is over,
    unless they have more than `most_rows`: then a tenant's rows of a day are many enough to lie together.
    With `consumers` and their `database` the log's trimming waits for the warehouse. `heard` is called with the name
    of each finished step: for progress, and for tests that stop at every one. The holder of `lease` works alone.
    """

    def __init__(
        self,
        reader: Reader,
        blobs: BlobStore,
        *,
        engine: Callable[[], QueryEngine],
        lease: Lease,
        clock: Clock,
        consumers: Consumers | None = None,
        database: Database | None = None,
        stretch: int = 50_000,
        retain_days: int | None = None,
        most_files: int = 8,
        most_rows: int = 2_000_000,
        grace_ms: int = 600_000,
        heard: Callable[[str], None] | None = None,
    ) -> None:
        self.blobs = blobs
        self._reader = reader
        self._open = engine
        self._lease = lease
        self._epoch = 0
        self._now_ms = clock.now_ms
        self._consumers = consumers
        self._database = database
        self._stretch = stretch
        self._retain_days = retain_days
        self._most_files = most_files
        self._most_rows = most_rows
        self._grace_ms = grace_ms
        self._heard = heard or (lambda step: None)
        if consumers is not None:
            # Before the first run: a consumer that is not registered holds back no trimming.
            consumers.register(CONSUMER)

    def run(self) -> Loaded:
        """Project everything beyond the watermark, then compact, clean and expire; return what was done.

        Raises `LoaderBusy` when another loader is at work, `WarehouseCorrupt` when a file that has to be
        merged is not what was written, `DiskFull` and `Unavailable` when the disk refuses.
        """
        with self._alone():
            found = manifest.adopt(self.blobs)
            return self._run(found, anew=found.format < TABLES_VERSION)

    def rebuild(self) -> Loaded:
        """Project the whole log anew; reports read the old files until all new ones are there."""
        with self._alone():
            return self._run(manifest.adopt(self.blobs), anew=True)

    def purge(self, tenant_id: str, *, person: str, units: Sequence[str]) -> None:
        """Take one person's rows out of every file and delete what held them at once; raises like `run`.

        Who reads the replaced files at this moment gets an error, so nobody in this process may.
        """
        with self._alone(), closing(self._open()) as engine:
            upkeep = self._upkeep(engine)
            found = upkeep.purge(
                self._sweep(manifest.adopt(self.blobs)), tenant_id, person=person, units=units
            )
            self._sweep(found, grace_ms=-1)

    def _run(self, found: Manifest, *, anew: bool) -> Loaded:
        found = self._sweep(found)
        with closing(self._open()) as engine:
            upkeep = self._upkeep(engine)
            if anew:
                # Nothing is published before all is there: until then reports read the old files.
                made, facts = self._load(
                    Manifest(number=found.number), engine, publish=msgspec.structs.replace
                )
                found = self._publish(
                    found,
                    format=TABLES_VERSION,
                    parts=made.parts,
                    watermark=made.watermark,
                    dropped=(*found.dropped, *upkeep.dropped(found.parts)),
                )
            else:
                found, facts = self._load(found, engine, publish=self._publish)
            # Before compaction, so that no day is merged and dropped in one run.
            found, expired = upkeep.expire(found, retain_days=self._retain_days)
            found, compacted = upkeep.compact(found)
        found = self._sweep(found)
        return Loaded(facts, found.watermark, compacted, expired)

    def _upkeep(self, engine: QueryEngine) -> Upkeep:
        return Upkeep(
            engine,
            publish=self._publish,
            now_ms=self._now_ms,
            most_files=self._most_files,
            most_rows=self._most_rows,
            heard=self._heard,
        )

    def _load(
        self, found: Manifest, engine: QueryEngine, *, publish: Callable[..., Manifest]
    ) -> tuple[Manifest, int]:
        """Read and encode one stretch while the engine writes the one before; return the number of facts too."""
        number, last, facts = found.number, found.watermark, 0
        writing: Future[list[File]] | None = None

        def grown() -> Manifest:
            assert writing is not None
            return publish(found, parts=(*found.parts, *writing.result()), watermark=last)

        with ThreadPoolExecutor(1, thread_name_prefix="loopwright-warehouse") as pool:
            for stretch in self._stretches(last):
                if writing is not None:
                    found = grown()
                # One stretch is read while one is written, so memory holds two at most. `last` still is the end
                # of the one before.
                writing = pool.submit(self._write, stretch, engine, number=number)
                last, facts = stretch.last, facts + stretch.count
            return (found if writing is None else grown()), facts

    def _stretches(self, after: int) -> Iterator[_Stretch]:
        while True:
            first, count, rows = None, 0, _lines()
            while count < self._stretch:
                with _uncollected():
                    facts = self._reader.facts(after, limit=_AT_ONCE)
                    _encode(project(facts), into=rows)
                if not facts:
                    break
                first = facts[0][0] if first is None else first
                after, count = facts[-1][0], count + len(facts)
            if first is None:
                return
            self._heard("projected")
            yield _Stretch(first, after, count, rows)

    def _write(self, stretch: _Stretch, engine: QueryEngine, *, number: int) -> list[File]:
        written = []
        for (name, day_number), tenants in sorted(stretch.rows.items()):
            table, day = TABLES[name], day_of(day_number * DAY_MS)
            # In the order of tenants and, within one, of the log: the engine need not sort.
            lines = [line for tenant in sorted(tenants) for line in tenants[tenant]]
            with layout.loaded(engine, table, lines) as rows:
                self._heard("staged")
                file = layout.write_file(
                    engine,
                    rows,
                    # The manifest's number makes the name new when the same stretch is projected again: engines
                    # cache files by name.
                    name=f"{name}/{day}/{stretch.first:020}-{stretch.last:020}-{number:012}.parquet",
                    table=table,
                )
            if file is not None:
                written.append(file)
            self._heard("written")
        return written

    def _publish(self, found: Manifest, **changes: Any) -> Manifest:
        self._heard("publishing")
        # Asked at each publication: a run that lost its lease must not publish over its successor. If it loses
        # it just after, the manifest's number is taken, and the publication fails.
        if not self._lease.renew(LEASE, self._epoch, ttl_s=_LEASE_S):
            raise LoaderBusy("another loader has taken over this warehouse; try again later")
        try:
            new = manifest.publish(self.blobs, found, **changes)
        except StaleVersion as error:
            raise LoaderBusy(f"another loader is at work: {error.message}") from error
        self._heard("published")
        if self._consumers is not None and self._database is not None:
            # The manifest is the position; this copy only holds back the trimming, and may lag behind it.
            if new.watermark > self._consumers.position(CONSUMER):
                with self._database.transaction() as session:
                    self._consumers.advance(session, CONSUMER, new.watermark)
            self._heard("advanced")
        return new

    def _sweep(self, found: Manifest, *, grace_ms: int | None = None) -> Manifest:
        """Delete files that no manifest names, and files that were replaced longer ago than the grace period."""
        due = self._now_ms() - (self._grace_ms if grace_ms is None else grace_ms)
        waiting = tuple(d for d in found.dropped if d.at_ms > due)
        named = {file.name for file in found.parts} | {dropped.name for dropped in waiting}
        for name in list(self.blobs.names()):
            # Only names of ours: a folder may hold files that somebody put beside them.
            is_ours = name.endswith((".parquet", ".partial")) or name.startswith(_OLD_SCRATCH)
            if is_ours and name not in named:
                self.blobs.delete(name)
        if len(waiting) != len(found.dropped):
            found = self._publish(found, dropped=waiting)
        self._heard("swept")
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        epoch = self._lease.acquire(LEASE, ttl_s=_LEASE_S)
        if epoch is None:
            raise LoaderBusy(
                "another loader is at work on this warehouse; try again when it is done"
            )
        self._epoch = epoch
        try:
            yield
        finally:
            self._lease.release(LEASE, epoch)


def _lines() -> _Lines:
    return defaultdict(lambda: defaultdict(list))


def _encode(rows: Mapping[str, list[Any]], *, into: _Lines) -> None:
    for table, found in rows.items():
        day = None
        for row in found:
            # Rows come in the order of the log, so the day changes about once a day and the outer look-up is
            # seldom needed.
            if row.at_ms // DAY_MS != day:
                day = row.at_ms // DAY_MS
                tenants = into[table, day]
            tenants[row.tenant_id].append(layout.line(row))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the cycle collector: it would search tens of thousands of new facts that hold no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
