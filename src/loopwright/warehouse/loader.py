"""The consumer named `warehouse`: projects stretches of the log into Parquet files, and tends them.

Each stretch becomes at most one file per table and day; then one manifest names them together with the
offset they reach. Whatever happens in between, the log and the manifest tell where to go on: files that no
manifest names are swept away at the next start, so nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import fcntl
import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from loopwright.core.clock import DAY_MS, Clock
from loopwright.core.errors import Conflict
from loopwright.core.ports import Database
from loopwright.eventlog import Consumers, Reader

from . import engine, manifest
from .manifest import Dropped, File, Manifest
from .project import project
from .tables import CONSENTS, TABLES, TABLES_VERSION

if TYPE_CHECKING:
    import duckdb

CONSUMER: Final = "warehouse"

_MEMORY: Final = "512MB"
"""Merging sorts within it, and on disk beyond: the loader shares the server's machine."""

_AT_ONCE: Final = 10_000
"""Facts held as objects at a time."""


class LoaderBusy(Conflict):
    """Another loader works on this warehouse."""

    code = "warehouse_busy"


class Loaded(msgspec.Struct, frozen=True):
    """What one run did."""

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
    rows: _Lines


class Loader:
    """Keeps the Parquet files of `folder` up with the log.

    A day's files are merged when there are more than `most_files`, or the day is over; a week's, once it is over,
    unless they have more than `most_rows`: then a tenant's rows of a day are many enough to lie together.
    With `consumers` and their `database` the log's trimming waits for the warehouse. `heard` is told of each
    step as it is done: for progress, and for tests that stop at every one. One loader works at a time.
    """

    def __init__(
        self,
        reader: Reader,
        folder: str | Path,
        *,
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
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._reader = reader
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
            consumers.register(CONSUMER)

    def run(self) -> Loaded:
        """Project everything beyond the watermark, then compact, clean and expire; return what was done.

        Raises `LoaderBusy` when another loader is at work, `WarehouseCorrupt` when a file that has to be
        merged is not what was written.
        """
        with self._alone():
            found = manifest.read(self.folder)
            is_outdated = found.format < TABLES_VERSION
            return self._run(self._anew(found) if is_outdated else found, at_once=is_outdated)

    def rebuild(self) -> Loaded:
        """Project the whole log anew; reports read the old files until all new ones are there."""
        with self._alone():
            return self._run(self._anew(manifest.read(self.folder)), at_once=True)

    def _run(self, found: Manifest, *, at_once: bool) -> Loaded:
        self._sweep(manifest.read(self.folder))
        before = found.watermark
        # One thread: the interpreter, which reads and encodes meanwhile, or the server has the other core.
        with engine.connect(self.folder, memory=_MEMORY, threads=1, keeps_order=True) as connection:
            found = self._load(found, connection, publish=(lambda new: new) if at_once else None)
            if at_once:
                found = self._publish(found)
            found, expired = self._expire(found, connection)
            found, compacted = self._compact(found, connection)
        self._sweep(found)
        return Loaded(found.watermark - before, found.watermark, compacted, expired)

    def _anew(self, found: Manifest) -> Manifest:
        dropped = (*found.dropped, *self._dropped(found.files))
        return Manifest(generation=found.generation + 1, dropped=dropped)

    def _load(
        self,
        found: Manifest,
        connection: duckdb.DuckDBPyConnection,
        *,
        publish: Callable[[Manifest], Manifest] | None,
    ) -> Manifest:
        """Read and encode one stretch while the engine writes the one before."""
        publish = publish or self._publish
        generation, last = found.generation, found.watermark
        writing: Future[list[File]] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="loopwright-warehouse") as pool:
            for stretch in self._stretches(last):
                if writing is not None:
                    found = publish(_grown(found, writing.result(), last))
                writing = pool.submit(self._write, stretch, connection, generation=generation)
                last = stretch.last
            return found if writing is None else publish(_grown(found, writing.result(), last))

    def _stretches(self, after: int) -> Iterator[_Stretch]:
        while True:
            first, rows = after + 1, _lines()
            while after - first + 1 < self._stretch:
                with _uncollected():
                    facts = self._reader.facts(after, limit=_AT_ONCE)
                    _encode(project(facts), into=rows)
                if not facts:
                    break
                after = facts[-1][0]
            if after < first:
                return
            self._heard("projected")
            yield _Stretch(first, after, rows)

    def _write(
        self, stretch: _Stretch, connection: duckdb.DuckDBPyConnection, *, generation: int
    ) -> list[File]:
        written = []
        for (name, number), tenants in sorted(stretch.rows.items()):
            table, day = TABLES[name], _day(number * DAY_MS)
            # In the order of tenants and, within one, of the log: the engine need not sort.
            lines = [line for tenant in sorted(tenants) for line in tenants[tenant]]
            with engine.staged(self.folder, table, lines) as rows:
                self._heard("staged")
                file = engine.write_parquet(
                    connection,
                    rows,
                    folder=self.folder,
                    name=f"{name}/{day}/{stretch.first:020}-{stretch.last:020}-{generation}.parquet",
                    table=table,
                )
            if file is not None:
                written.append(file)
            self._heard("written")
        return written

    def _publish(self, new: Manifest) -> Manifest:
        new = msgspec.structs.replace(new, generation=new.generation + 1)
        self._heard("publishing")
        manifest.publish(self.folder, new)
        self._heard("published")
        if self._consumers is not None and self._database is not None:
            # The manifest is the position; this copy only holds back the trimming, and may lag behind it.
            if new.watermark > self._consumers.position(CONSUMER):
                with self._database.transaction() as session:
                    self._consumers.advance(session, CONSUMER, new.watermark)
            self._heard("advanced")
        return new

    def _expire(
        self, found: Manifest, connection: duckdb.DuckDBPyConnection
    ) -> tuple[Manifest, int]:
        """Drop the days that are past retention; what is known of people stays."""
        if self._retain_days is None:
            return found, 0
        number = self._now_ms() // DAY_MS - self._retain_days
        oldest = _day(number * DAY_MS)
        ageing = [f for f in found.files if f.day < oldest and f.table != CONSENTS.name]
        gone = [file for file in ageing if _last_day(file) < oldest]
        if gone:
            found = self._replace(found, gone, [])
        for file in ageing:
            if file not in gone:
                kept = f"at_ms >= {number * DAY_MS}"
                found = self._merge(found, [file], connection, day=oldest, where=kept)
        return found, len(gone)

    def _compact(
        self, found: Manifest, connection: duckdb.DuckDBPyConnection
    ) -> tuple[Manifest, int]:
        """Merge a day's small files, and a week's days; take out of every file who was erased since it was written."""
        changed = self._people(found, connection)
        merged, today = 0, self._now_ms() // DAY_MS
        for files in _together(found.files, today, most_rows=self._most_rows):
            day = files[0].day
            is_many = len(files) > (1 if day < _day(today * DAY_MS) else self._most_files)
            if is_many or self._has_people(files, changed, connection):
                found = self._merge(found, files, connection, day=day, changed=changed)
                merged += len(files)
        return self._settle(found, changed), merged

    def _settle(self, found: Manifest, changed: int) -> Manifest:
        """Note that the files have been searched for everyone who changed, so that it is done once."""
        if all(file.settled >= changed for file in found.files):
            return found
        settled = tuple(
            msgspec.structs.replace(file, settled=max(file.settled, changed))
            for file in found.files
        )
        return self._publish(msgspec.structs.replace(found, files=settled))

    def _people(self, found: Manifest, connection: duckdb.DuckDBPyConnection) -> int:
        """Make the table `people` of everyone erased or with changed consent; return the latest change's offset."""
        files = [file for file in found.files if file.table == CONSENTS.name]
        source = engine.files_sql(self.folder, files) if files else None
        connection.execute(engine.create_sql(CONSENTS, "changes"))
        if source is not None:
            with engine.translated("consents"):
                connection.execute(f"INSERT INTO changes {source}")
        connection.execute(people_sql("people", "changes"))
        return max((file.last for file in files), default=0)

    def _has_people(
        self, files: Sequence[File], changed: int, connection: duckdb.DuckDBPyConnection
    ) -> bool:
        """Say whether anyone in a file was erased after it was last searched."""
        if "person" not in TABLES[files[0].table].names or files[0].table == CONSENTS.name:
            return False
        stale = [file for file in files if file.settled < changed]
        if not stale:
            return False
        source = engine.files_sql(self.folder, stale, columns="tenant_id, person")
        with engine.translated(stale[0].name):
            found = connection.execute(
                f"SELECT 1 FROM ({source}) AS f JOIN people AS p "  # noqa: S608 - our own names
                "ON f.tenant_id = p.tenant_id AND f.person = p.person "
                "WHERE p.is_erased = 1 AND p.log_offset > ? LIMIT 1",
                [min(file.settled for file in stale)],
            ).fetchone()
        return found is not None

    def _merge(
        self,
        found: Manifest,
        files: Sequence[File],
        connection: duckdb.DuckDBPyConnection,
        *,
        day: str,
        changed: int | None = None,
        where: str = "TRUE",
    ) -> Manifest:
        """Put one file, whose first day is `day`, in place of `files`; clean of people through offset `changed`."""
        for file in files:
            manifest.check(self.folder, file)
        table = TABLES[files[0].table]
        first, last = min(f.first for f in files), max(f.last for f in files)
        until = max(map(_last_day, files))
        source = engine.files_sql(self.folder, files, columns=", ".join(table.names))
        if changed is not None and "person" in table.names and table.name != CONSENTS.name:
            source = allowed_sql(source, table.names, people="people")
        file_made = engine.write_parquet(
            connection,
            f"SELECT * FROM ({source}) AS kept WHERE {where} ORDER BY tenant_id, at_ms, log_offset",  # noqa: S608
            folder=self.folder,
            name=f"{table.name}/{day}/{first:020}-{last:020}-{found.generation}.parquet",
            table=table,
            settled=min(file.settled for file in files) if changed is None else changed,
            until=until if until > day else "",
        )
        self._heard("merged")
        return self._replace(found, files, [] if file_made is None else [file_made])

    def _replace(self, found: Manifest, old: Sequence[File], new: Sequence[File]) -> Manifest:
        gone = {file.name for file in old}
        kept = tuple(file for file in found.files if file.name not in gone)
        return self._publish(
            msgspec.structs.replace(
                found, files=(*kept, *new), dropped=(*found.dropped, *self._dropped(old))
            )
        )

    def _dropped(self, files: Sequence[File]) -> tuple[Dropped, ...]:
        return tuple(Dropped(file.name, self._now_ms()) for file in files)

    def _sweep(self, found: Manifest) -> None:
        """Delete what no manifest names, and what was replaced long enough ago."""
        due = self._now_ms() - self._grace_ms
        waiting = tuple(d for d in found.dropped if d.at_ms > due)
        named = {file.name for file in found.files} | {dropped.name for dropped in waiting}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            is_ours = path.suffix in (".parquet", ".partial") or path.name.startswith(".staged-")
            if is_ours and path.is_file() and name not in named:
                path.unlink()
        if len(waiting) != len(found.dropped):
            self._publish(msgspec.structs.replace(found, dropped=waiting))
        self._heard("swept")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "loader.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LoaderBusy(
                    f"another loader is at work on {self.folder}; try again when it is done"
                ) from error
            yield


def people_sql(name: str, changes: str) -> str:
    """Return the statement that makes a table of the latest consent of everyone in `changes`; erasure stays."""
    return (
        f"CREATE OR REPLACE TABLE {name} AS SELECT tenant_id, person, log_offset, is_erased, "  # noqa: S608
        "consent_store, consent_analyze, consent_train, consent_share FROM ("
        "SELECT *, row_number() OVER (PARTITION BY tenant_id, person ORDER BY log_offset DESC) AS place, "
        "max(CASE WHEN is_erasure THEN 1 ELSE 0 END) OVER (PARTITION BY tenant_id, person) AS is_erased "
        f"FROM {changes}) AS ordered WHERE place = 1"
    )


def allowed_sql(source: str, names: Sequence[str], *, people: str) -> str:
    """Return `source` without the erased, and with everyone's latest consent in place of the fact's own."""
    columns = ", ".join(
        f"coalesce(p.{name}, f.{name}) AS {name}" if name.startswith("consent_") else f"f.{name}"
        for name in names
    )
    return (
        f"SELECT {columns} FROM ({source}) AS f LEFT JOIN {people} AS p "  # noqa: S608 - our own names
        "ON f.tenant_id = p.tenant_id AND f.person = p.person WHERE coalesce(p.is_erased, 0) = 0"
    )


def _together(files: Sequence[File], today: int, *, most_rows: int) -> list[list[File]]:
    """Return the files that belong in one: those of a day, or of a week that is over and not too large."""
    weeks: defaultdict[tuple[str, int], list[File]] = defaultdict(list)
    for file in files:
        weeks[file.table, _number(file.day) // 7].append(file)
    groups: list[list[File]] = []
    for (_, week), those in sorted(weeks.items()):
        days: defaultdict[str, list[File]] = defaultdict(list)
        for file in sorted(those, key=lambda f: f.day):
            days[file.day].append(file)
        is_week = week < today // 7 and sum(file.rows for file in those) <= most_rows
        groups += [[f for found in days.values() for f in found]] if is_week else days.values()
    return groups


def _last_day(file: File) -> str:
    return file.until or file.day


def _grown(found: Manifest, files: list[File], last: int) -> Manifest:
    return msgspec.structs.replace(found, files=(*found.files, *files), watermark=last)


def _lines() -> _Lines:
    return defaultdict(lambda: defaultdict(list))


def _encode(rows: dict[str, list[Any]], *, into: _Lines) -> None:
    for table, found in rows.items():
        day = None
        for row in found:
            if row.at_ms // DAY_MS != day:
                day = row.at_ms // DAY_MS
                tenants = into[table, day]
            tenants[row.tenant_id].append(engine.line(row))


def _number(day: str) -> int:
    """Days since the epoch."""
    return date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()


@lru_cache(maxsize=1024)
def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


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
