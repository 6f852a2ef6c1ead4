"""Answering named queries over the Parquet files and the facts that are not in them yet.

A question is put to one tenant's rows of one period. The first question about them copies these rows, without
their bulky columns, from the files and the tail of the log; the questions that follow within the same moment
share that copy, so that a report is one reading of the files and all its numbers are of the same moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from loopwright.core import parts
from loopwright.core.clock import Clock
from loopwright.core.ports import BlobStore, QueryEngine
from loopwright.eventlog import Reader

from . import layout, manifest
from .answer import Answer
from .loader import Loader, LoaderBusy
from .manifest import File, Manifest
from .project import Rows, project
from .queries import Query, named
from .slices import (
    BEGINNING,
    END,
    Slice,
    bounds,
    kind_of,
    made_of,
    relation_sql,
    threads_of,
    within,
)
from .tables import CONSENTS, TABLES, TABLES_VERSION, Table

FRESH_MS: Final = 400
"""How old the rows may be that a question shares with the one before."""

_ASKED_OF: Final = ("tenant_id", "person", "consent_store", "consent_analyze")
"""The columns that decide whether consent lets a row into reports."""

_AT_ONCE: Final = 10_000
_KEPT_SLICES: Final = 4

_Key = tuple[str, int, int, str | None]
"""Tenant, period and task of a copy."""


class Warehouse:
    """The files in `blobs` and the tail of the log behind `reader`, as one set of tables.

    Any number of threads may ask; one question is answered at a time, by `engine`, which is open over the same place.
    When more than `tail` facts are not in the files yet, `loader` is run first. With `check_digests` every file is
    read through once, when it is first seen. Call `close` when done.
    """

    def __init__(
        self,
        blobs: BlobStore,
        reader: Reader,
        *,
        engine: QueryEngine,
        loader: Loader,
        clock: Clock,
        tail: int = 20_000,
        check_digests: bool = True,
    ) -> None:
        self._blobs = blobs
        self._reader = reader
        self._engine = engine
        self._now_ms = clock.now_ms
        self._loader = loader
        self._tail = tail
        self._check_digests = check_digests
        # Re-entrant, because `query` refreshes while it holds it.
        self._lock = threading.RLock()
        self._number: int | None = None
        self._manifest = Manifest()
        self._sound: set[str] = set()
        self._seen = 0
        self._chunks: list[tuple[int, int]] = []
        """The last offset and the number of facts of each chunk of the tail."""
        self._is_torn = False
        self._with_tail: set[str] = set()
        self._slices: dict[_Key, Slice] = {}
        self._made = 0
        self._has_people = False
        for table in TABLES.values():
            engine.query(layout.create_sql(table, f"main.tail_{table.name}"))
        self._know_people()

    @property
    def watermark(self) -> int:
        """Log offset through which facts are in the files."""
        return self._manifest.watermark

    @property
    def lag_events(self) -> int:
        """Facts beyond the files that the latest refresh found in the log."""
        return sum(count for _, count in self._chunks)

    def refresh(self) -> int:
        """Take in new files and new facts; return the log offset through which questions are answered now.

        Raises `WarehouseCorrupt` when a file is missing or is not what was written.
        """
        with self._lock:
            self._mend()
            self._see_files()
            if self._read_tail() > self._tail:
                # Facts that another loader is just storing are read from the log as well: slower, not wrong.
                with suppress(LoaderBusy):
                    self._loader.run()
                self._see_files()
                self._read_tail(whole=True)
            return self._seen

    def query(
        self,
        name: str | Query,
        *,
        tenant_id: str | None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        task: str | None = None,
        as_of: int | None = None,
        is_fresh: bool = False,
        **params: Any,
    ) -> Answer:
        """Answer a query over what happened from `from_ms` until before `to_ms`: one of the warehouse's own by its name,
        or one handed over.

        `tenant_id` None asks about all tenants together; `task` about the calls of one task, the steps taken for
        them, and the feedback that is of that task. `as_of`, the offset of an answer about the same
        tenant and period, asks for an answer of the same moment, however long ago, if it can still be had:
        give it to all but the first question of a report. `is_fresh` shares no copy: the answer holds everything that
        was in the log before the call. Raises `NotFound` for an unknown query, `Invalid`
        for a parameter it does not have or a period that ends before it begins.
        """
        query = named(name) if isinstance(name, str) else name
        sql, values = query.bind(params)
        start, end = bounds(from_ms, to_ms)
        with self._lock, manifest.translated(query.name):
            found = self._slice(
                query, tenant_id, (start, end), task=task, as_of=as_of, is_fresh=is_fresh
            )
            # Two threads would each copy half of a tenant's rows and then all of them once more, into one place.
            rows = self._engine.query(sql, values, threads=threads_of(found))
            return Answer(tuple(column.name for column in query.columns), rows, found.offset)

    def verify(self) -> int:
        """Read every file through and compare its digest; return how many there are.

        Raises `WarehouseCorrupt` at the first that is not what was written.
        """
        files = manifest.read(self._blobs).parts
        for file in files:
            manifest.check(self._engine, file)
        return len(files)

    def purge(
        self, tenant_id: str, person: str, units: Sequence[str], *, rewrite: Callable[[], int]
    ) -> int:
        """Forget a person's rows, once `rewrite` took them from the log, between two questions; return what that returns."""
        with self._lock:
            found = rewrite()
            self._reader.forget()
            self._loader.purge(tenant_id, person=person, units=units)
            self._forget_tail(all_of_it=True)
            for copy in self._slices.values():
                self._engine.query(f"DROP SCHEMA {copy.schema} CASCADE")
            self._slices.clear()
            self._number = None
            self.refresh()
            return found

    def close(self) -> None:
        """Let the engine go."""
        with self._lock:
            self._engine.close()

    def _see_files(self) -> None:
        number = parts.newest_number(self._blobs)
        # The listing of names is cheap; the manifest itself is read only when it is a new one.
        if number == self._number:
            return
        new = manifest.read(self._blobs)
        if new.format < TABLES_VERSION:
            self._loader.run()
            new = manifest.read(self._blobs)
        self._check([file for file in new.parts if file.name not in self._sound])
        self._sound = {file.name for file in new.parts}
        # The files were deleted and are made anew. The tail lacks the facts between the two watermarks, so it
        # is read again.
        is_rebuilt = new.watermark < self._manifest.watermark
        # Only after the check: files that are not sound leave the old manifest in force, and the next question
        # checks again.
        self._manifest, self._number = new, new.number
        self._forget_tail(all_of_it=is_rebuilt)
        self._know_people()

    def _check(self, files: Sequence[File]) -> None:
        if self._check_digests:
            for file in files:
                manifest.check(self._engine, file)
            return
        there = set(self._blobs.names()) if files else set()
        for file in files:
            if file.name not in there:
                raise manifest.missing(file)

    def _forget_tail(self, *, all_of_it: bool) -> None:
        watermark = self._manifest.watermark
        for name in sorted(self._with_tail):
            self._engine.query(
                f"DELETE FROM main.tail_{name} WHERE log_offset <= ?",  # noqa: S608 - our own names
                [END if all_of_it else watermark],
            )
            if not self._engine.query(f"SELECT 1 FROM main.tail_{name} LIMIT 1"):  # noqa: S608
                self._with_tail.discard(name)
        self._seen = watermark if all_of_it else max(self._seen, watermark)
        self._chunks = [] if all_of_it else [c for c in self._chunks if c[0] > watermark]

    def _read_tail(self, *, whole: bool = False) -> int:
        """Project facts beyond the files into memory; stop early when there are too many, unless `whole`."""
        while whole or self.lag_events <= self._tail:
            facts = self._reader.facts(self._seen, limit=_AT_ONCE)
            if not facts:
                break
            self._take_in(project(facts))
            self._seen = facts[-1][0]
            self._chunks.append((self._seen, len(facts)))
            self._is_torn = False
        return self.lag_events

    def _take_in(self, rows: Rows) -> None:
        """Add the rows of a chunk to the tail: of every table or of none, so that no question counts a part of them."""
        self._mend()
        self._is_torn = True
        try:
            for name, found in rows.items():
                if found:
                    self._with_tail.add(name)
                    with layout.loaded(
                        self._engine, TABLES[name], [*map(layout.line, found)]
                    ) as source:
                        self._engine.query(f"INSERT INTO main.tail_{name} {source}")
            if rows[CONSENTS.name]:
                self._know_people()
        except BaseException:
            # If this fails as well, the tail stays torn, and is mended before anything is read from it.
            self._mend()
            raise

    def _mend(self) -> None:
        """Remove from the tail the rows of a chunk that a failure left incomplete."""
        if self._is_torn:
            for name in sorted(self._with_tail):
                self._engine.query(
                    f"DELETE FROM main.tail_{name} WHERE log_offset > ?",  # noqa: S608
                    [self._seen],
                )
            self._know_people()
            self._is_torn = False

    def _know_people(self) -> None:
        """Make the table of people whose consent changed: their latest consent applies to all their rows."""
        columns = ", ".join(CONSENTS.names)
        source = self._source(CONSENTS, BEGINNING, END, names=CONSENTS.names)
        self._engine.query(
            layout.people_sql("main.people", f"(SELECT {columns} FROM ({source}) AS c)")  # noqa: S608
        )
        self._has_people = self._engine.query("SELECT count(*) FROM main.people") != [(0,)]

    def _slice(
        self,
        query: Query,
        tenant_id: str | None,
        period: tuple[int, int],
        *,
        task: str | None,
        as_of: int | None,
        is_fresh: bool = False,
    ) -> Slice:
        """Return what the query reads: a fresh enough copy of the tenant's rows, or views of everything."""
        start, end = period
        is_shared = tenant_id is not None and not query.is_bulk
        key = (tenant_id or "", start, end, task)
        now_ms = self._now_ms()
        found = self._slices.get(key) if is_shared else None
        is_young = found is not None and self._is_shared(found, query, now_ms=now_ms, as_of=as_of)
        if found is None or is_fresh or not is_young:
            offset = self.refresh()
            if found is not None and found.offset == offset:
                found = msgspec.structs.replace(found, made_at_ms=now_ms)
            else:
                found = Slice(
                    schema=self._schema(key) if is_shared else self._schema(None),
                    kind="TABLE" if is_shared else "VIEW",
                    tenant_id=tenant_id,
                    start=start,
                    end=end,
                    task=task,
                    offset=offset,
                    made_at_ms=now_ms,
                    made=set(),
                    is_bulk=query.is_bulk,
                )
            if is_shared:
                self._slices[key] = found
        self._engine.query(f"SET schema = '{found.schema}'")
        for name in query.reads:
            self._make(found, name)
        return found

    def _is_shared(self, found: Slice, query: Query, *, now_ms: int, as_of: int | None) -> bool:
        """Return whether a copy can answer: it is young or named by `as_of`, and can still gain what it lacks."""
        if self._is_torn:
            return False
        is_young = 0 <= now_ms - found.made_at_ms <= FRESH_MS
        # A relation made now would hold facts that the copied ones lack, and the numbers of one report would
        # contradict each other.
        can_grow = found.offset == self._seen or found.made.issuperset(query.reads)
        return can_grow and (is_young or found.offset == as_of)

    def _schema(self, key: _Key | None) -> str:
        """Return a new schema in place of the one for `key`, dropping the oldest when there are many."""
        if key is None:
            self._engine.query("DROP SCHEMA IF EXISTS everything CASCADE")
            self._engine.query("CREATE SCHEMA everything")
            return "everything"
        # A dict keeps its order, so the first keys are the oldest; one place stays free for the new copy.
        old = [key] if key in self._slices else list(self._slices)[: 1 - _KEPT_SLICES]
        for gone in old:
            self._engine.query(f"DROP SCHEMA {self._slices.pop(gone).schema} CASCADE")
        self._made += 1
        self._engine.query(f"CREATE SCHEMA slice_{self._made}")
        return f"slice_{self._made}"

    def _make(self, into: Slice, name: str) -> None:
        if name not in into.made:
            for part in made_of(into, name):
                self._make(into, part)
            select = relation_sql(into, name, self._source)
            kind = kind_of(into, name)
            self._engine.query(f"CREATE {kind} {name} AS {select}", threads=threads_of(into))
            into.made.add(name)

    def _source(
        self,
        table: Table,
        start: int,
        end: int,
        *,
        names: Sequence[str],
        tenant_id: str | None = None,
        is_allowed: bool = True,
    ) -> str:
        """Return the SELECT of a table's rows from files and tail, the consent of their people applied.

        `is_allowed` False selects the rows that consent keeps out of reports. Rows of erased people are in neither.
        """
        whole, files = self._manifest.between(
            table.name, start, end, all_count=not self._has_people
        )
        if not is_allowed:
            whole = []
        # In each part and not around the union, so that the engine can skip row groups of a file by their least
        # and greatest time.
        where = f" WHERE {within(table, start, end)}"
        tenant = "" if tenant_id is None else f" AND tenant_id = {layout.quoted(tenant_id)}"
        is_asked = "consent_analyze" in table.names and table is not CONSENTS
        read = [*names, *(name for name in _ASKED_OF if is_asked and name not in names)]
        columns = ", ".join(read)
        asked = [layout.files_sql(self._engine, files, read)] if files else []
        # An empty side of a union would hide from the engine how much the other has.
        if table.name in self._with_tail or not (whole or files):
            asked.append(f"SELECT {columns} FROM main.tail_{table.name}")  # noqa: S608
        parts = []
        if whole:
            plain = layout.files_sql(self._engine, whole, names)
            parts.append(f"{plain} WHERE TRUE{tenant}")
        if asked:
            source = " UNION ALL ".join(part + where + tenant for part in asked)
            people = "main.people" if self._has_people else None
            parts.append(
                layout.agreed_sql(source, read, names, is_allowed=is_allowed, people=people)
                if is_asked
                else source
            )
        return " UNION ALL ".join(parts)
