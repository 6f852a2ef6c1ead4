"""Answering named queries over the Parquet files and the facts that are not in them yet.

A question is put to one tenant's rows of one period. The first question about them copies these rows, without
their bulky columns, from the files and the tail of the log; the questions that follow within the same moment
share that copy, so that a report is one reading of the files and all its numbers are of the same moment.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import Invalid, NotFound
from loopwright.eventlog import Reader

from . import engine, manifest, relations
from .loader import Loader, LoaderBusy, allowed_sql, people_sql
from .manifest import File, Manifest, WarehouseCorrupt
from .project import project
from .queries import Query, named
from .tables import (
    CONSENTS,
    DECISIONS,
    FEEDBACK,
    INTERACTIONS,
    LINKED,
    STEPS,
    TABLES,
    TABLES_VERSION,
    Table,
)

DAY_MS: Final = 86_400_000
LOOKBACK_MS: Final = 30 * DAY_MS
"""How long before a period a call may have been made that the period's feedback is about, and how long after
a period feedback about its calls still counts for them."""

FRESH_MS: Final = 400
"""How old the rows may be that a question shares with the one before."""

BEGINNING: Final = -(2**62)
END: Final = 2**62

_KEYS: Final = tuple(relations.REFERENCES.values())

_CALLS: Final = (
    "tenant_id",
    "log_offset",
    "started_at_ms",
    "session_id",
    "person",
    "task",
    "prompt_version",
    "model_version",
    "model_id",
    "input_tokens",
    "output_tokens",
    "cost",
    "client_latency_ms",
    "server_latency_ms",
    "error",
    "query",
    "country",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    *_KEYS,
)
_TOLD: Final = (
    "tenant_id",
    "log_offset",
    "at_ms",
    "occurred_at_ms",
    "event_id",
    "kind",
    "metric",
    "value",
    "scale",
    "shape",
    "rating",
    "satisfaction",
    "experiment_id",
    "arm_id",
    "unit_id",
    "session_id",
    "person",
    "source",
    "task",
    "category",
    "sentiment",
    "severity",
    "prompt_version",
    "model_version",
    "model_id",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    "message",
    "query",
    "before_text",
    "after_text",
    "explanation",
    "quarantined",
    "interaction_offset",
    "country",
    "is_waiting",
)
"""What reports read of calls and of feedback: each column costs about a millisecond to copy. A query that names
another fails for one tenant, and a test asks every query."""

_MADE_OF: Final = {
    "interactions": ("calls",),
    "decisions": ("choices",),
    "links": ("calls",),
    "told": ("links", "calls", "choices"),
    "linked": ("told",),
    "totals": ("links",),
    "wide": ("interactions", "totals"),
}
"""Relations that are made of other relations."""

_ALWAYS_VIEWS: Final = frozenset(("feedback", "interactions", "decisions", "linked", "wide"))
"""Relations that cost less to work out again, in the columns a query reads, than to copy with all columns."""

_ASKED_OF: Final = ("tenant_id", "person", "consent_store", "consent_analyze")
"""What tells whether somebody's consent lets a row into reports."""

_AT_ONCE: Final = 10_000
_KEPT_SLICES: Final = 4

_Key = tuple[str, int, int, str | None]
"""Tenant, period and task of a copy."""


class Answer(msgspec.Struct, frozen=True):
    """The rows of a query, and how much of the log they are of."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    offset: int
    """Log offset through which the answer is true."""

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class _Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The relations of one tenant and period, made in a schema of their own when they are first asked for."""

    schema: str
    kind: Literal["TABLE", "VIEW"]
    tenant_id: str | None
    start: int
    end: int
    task: str | None
    offset: int
    made_at_ms: int
    made: set[str]
    is_bulk: bool = False


class Warehouse:
    """The files in `folder` and the tail of the log behind `reader`, as one set of tables.

    Any number of threads may ask; one question is answered at a time. When more than `tail` facts are not in
    the files yet, `loader` is run first. With `check_digests` every file is read through once, when it is
    first seen. Call `close` when done.
    """

    def __init__(
        self,
        folder: str | Path,
        reader: Reader,
        *,
        clock: Clock,
        loader: Loader | None = None,
        tail: int = 20_000,
        check_digests: bool = True,
        memory: str = engine.MEMORY,
    ) -> None:
        self.folder = Path(folder)
        self._reader = reader
        self._now_ms = clock.now_ms
        self._loader = loader or Loader(reader, folder, clock=clock)
        self._tail = tail
        self._check_digests = check_digests
        self._lock = threading.RLock()
        self._connection = engine.connect(self.folder, memory=memory)
        self._stamp: tuple[int, int, int] | None = None
        self._manifest = Manifest()
        self._sound: set[str] = set()
        self._seen = 0
        self._in_tail = 0
        self._with_tail: set[str] = set()
        self._slices: dict[_Key, _Slice] = {}
        self._made = 0
        for table in TABLES.values():
            self._connection.execute(engine.create_sql(table, f"main.tail_{table.name}"))
        self._know_people()

    @property
    def watermark(self) -> int:
        """Log offset through which facts are in the files."""
        return self._manifest.watermark

    @property
    def lag_events(self) -> int:
        """Facts beyond the files that the latest refresh found in the log."""
        return max(self._seen - self._manifest.watermark, 0)

    def refresh(self) -> int:
        """Take in new files and new facts; return the log offset through which questions are answered now.

        Raises `WarehouseCorrupt` when a file is missing or is not what was written.
        """
        with self._lock:
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
        **params: Any,
    ) -> Answer:
        """Answer a query, the warehouse's own by name or one handed over, over what happened from `from_ms` until before `to_ms`.

        `tenant_id` None asks about all tenants together; `task` about the calls of one task, the steps taken for
        them, and the feedback that is of that task. `as_of`, the offset of an answer about the same
        tenant and period, asks for an answer of the same moment, however long ago, if it can still be had:
        give it to all but the first question of a report. Raises `NotFound` for an unknown query, `Invalid`
        for a parameter it does not have or a period that ends before it begins.
        """
        query = named(name) if isinstance(name, str) else name
        sql, values = query.bind(params)
        start, end = _period(from_ms, to_ms)
        with self._lock, engine.translated(query.name):
            found = self._slice(query, tenant_id, (start, end), task=task, as_of=as_of)
            rows = self._connection.execute(sql, values).fetchall()
            return Answer(tuple(column.name for column in query.columns), rows, found.offset)

    def verify(self) -> int:
        """Read every file through and compare its digest; return how many there are.

        Raises `WarehouseCorrupt` at the first that is not what was written.
        """
        files = manifest.read(self.folder).files
        for file in files:
            manifest.check(self.folder, file)
        return len(files)

    def close(self) -> None:
        """Let the engine go."""
        with self._lock:
            self._connection.close()

    def _see_files(self) -> None:
        try:
            found = (self.folder / manifest.NAME).stat()
        except FileNotFoundError:
            stamp = None
        else:
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return
        new = manifest.read(self.folder)
        if new.format < TABLES_VERSION:
            self._loader.run()
            new = manifest.read(self.folder)
        for file in new.files:
            if file.name not in self._sound:
                self._check(file)
        self._sound = {file.name for file in new.files}
        is_rebuilt = new.watermark < self._manifest.watermark
        self._manifest, self._stamp = new, stamp
        self._forget_tail(all_of_it=is_rebuilt)
        self._know_people()

    def _check(self, file: File) -> None:
        if self._check_digests:
            manifest.check(self.folder, file)
            return
        path = self.folder / file.name
        size = path.stat().st_size if path.exists() else None
        if size != file.size:
            raise WarehouseCorrupt(
                f"{path} has {size} bytes, not {file.size}; delete the warehouse's folder, and it is rebuilt "
                "from the log",
                found=size,
                expected=file.size,
            )

    def _forget_tail(self, *, all_of_it: bool) -> None:
        watermark = self._manifest.watermark
        for name in sorted(self._with_tail):
            self._connection.execute(
                f"DELETE FROM main.tail_{name} WHERE log_offset <= ?",  # noqa: S608 - our own names
                [END if all_of_it else watermark],
            )
            if not self._connection.execute(f"SELECT 1 FROM main.tail_{name} LIMIT 1").fetchall():  # noqa: S608
                self._with_tail.discard(name)
        self._seen = watermark if all_of_it else max(self._seen, watermark)
        self._in_tail = self._seen - watermark

    def _read_tail(self, *, whole: bool = False) -> int:
        """Project facts beyond the files into memory; stop early when there are too many, unless `whole`."""
        while whole or self._in_tail <= self._tail:
            facts = self._reader.facts(self._seen, limit=_AT_ONCE)
            if not facts:
                break
            rows = project(facts)
            for name, found in rows.items():
                if found:
                    self._take_in(TABLES[name], found)
            if rows[CONSENTS.name]:
                self._know_people()
            self._seen = facts[-1][0]
            self._in_tail += len(facts)
        return self._in_tail

    def _take_in(self, table: Table, rows: Sequence[Any]) -> None:
        with engine.staged(self.folder, table, [*map(engine.line, rows)]) as found:
            self._with_tail.add(table.name)
            self._connection.execute(f"INSERT INTO main.tail_{table.name} {found}")

    def _know_people(self) -> None:
        """Everyone whose consent changed, by files and tail: what they said is shown by their latest word."""
        columns = ", ".join(CONSENTS.names)
        source = self._source(CONSENTS, BEGINNING, END, names=CONSENTS.names)
        self._connection.execute(
            people_sql("main.people", f"(SELECT {columns} FROM ({source}) AS c)")  # noqa: S608
        )
        found = self._connection.execute("SELECT count(*) FROM main.people").fetchone()
        self._has_people = found is not None and found[0] > 0

    def _slice(
        self,
        query: Query,
        tenant_id: str | None,
        period: tuple[int, int],
        *,
        task: str | None,
        as_of: int | None,
    ) -> _Slice:
        """Return what the query reads: a fresh enough copy of the tenant's rows, or views of everything."""
        start, end = period
        is_shared = tenant_id is not None and not query.is_bulk
        key = (tenant_id or "", start, end, task)
        now_ms = self._now_ms()
        found = self._slices.get(key) if is_shared else None
        if found is None or not self._is_shared(found, query, now_ms=now_ms, as_of=as_of):
            offset = self.refresh()
            if found is not None and found.offset == offset:
                found = msgspec.structs.replace(found, made_at_ms=now_ms)
            else:
                found = _Slice(
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
        self._connection.execute(f"SET schema = '{found.schema}'")
        # Two threads would each copy half of a tenant's rows and then all of them once more, into one place.
        self._connection.execute(f"SET threads = {1 if is_shared else engine.THREADS}")
        for name in query.reads:
            self._make(found, name)
        return found

    def _is_shared(self, found: _Slice, query: Query, *, now_ms: int, as_of: int | None) -> bool:
        """Say whether a copy will do: it is young or asked for, and what it lacks can still be read as of then."""
        is_young = 0 <= now_ms - found.made_at_ms <= FRESH_MS
        can_grow = found.offset == self._seen or found.made.issuperset(query.reads)
        return can_grow and (is_young or found.offset == as_of)

    def _schema(self, key: _Key | None) -> str:
        """Return a new schema in place of the one for `key`, dropping the oldest when there are many."""
        if key is None:
            self._connection.execute("DROP SCHEMA IF EXISTS everything CASCADE")
            self._connection.execute("CREATE SCHEMA everything")
            return "everything"
        old = [key] if key in self._slices else list(self._slices)[: 1 - _KEPT_SLICES]
        for gone in old:
            self._connection.execute(f"DROP SCHEMA {self._slices.pop(gone).schema} CASCADE")
        self._made += 1
        self._connection.execute(f"CREATE SCHEMA slice_{self._made}")
        return f"slice_{self._made}"

    def _make(self, into: _Slice, name: str) -> None:
        if name not in into.made:
            for part in _MADE_OF.get(name, ()):
                self._make(into, part)
            kind = "VIEW" if name in _ALWAYS_VIEWS else into.kind
            self._connection.execute(f"CREATE {kind} {name} AS {self._relation(into, name)}")
            into.made.add(name)

    def _relation(self, of: _Slice, name: str) -> str:
        """Return the SELECT that defines a relation."""
        is_copy = of.kind == "TABLE"
        calls = _CALLS if is_copy else INTERACTIONS.names
        start, end = _window(of, name)

        def rows(table: Table, names: Sequence[str]) -> str:
            return self._source(table, start, end, names=names, tenant_id=of.tenant_id)

        match name:
            case "calls":
                return rows(INTERACTIONS, calls)
            case "choices":
                return rows(DECISIONS, DECISIONS.names)
            case "links":
                return relations.links_sql(rows(FEEDBACK, relations.COUNTED))
            case "told":
                columns = _TOLD if is_copy else LINKED.names
                own = (set(columns) - relations.JOINED) | {*_KEYS, *relations.OWN}
                return _of_task(of, relations.told_sql(rows(FEEDBACK, sorted(own)), columns))
            case "feedback" if is_copy:
                self._make(of, "told")
                return relations.own_sql(_TOLD)
            case "feedback" if of.task is not None:
                self._make(of, "told")
                source = rows(FEEDBACK, FEEDBACK.names)
                return f"SELECT * FROM ({source}) AS f WHERE log_offset IN (SELECT log_offset FROM told)"  # noqa: S608
            case "feedback":
                return rows(FEEDBACK, FEEDBACK.names)
            case "linked":
                return "SELECT * FROM told WHERE quarantined IS NULL"
            case "interactions":
                within = _within(INTERACTIONS, start, end)
                return _of_task(of, f"SELECT * FROM calls WHERE {within}")  # noqa: S608
            case "decisions":
                return f"SELECT * FROM choices WHERE {_within(DECISIONS, start, end)}"  # noqa: S608
            case "totals":
                return relations.totals_sql()
            case "wide":
                return relations.wide_sql(calls)
            case "steps":
                latest = _latest_steps(rows(STEPS, STEPS.names))
                if of.task is None:
                    return latest
                start, end = _window(of, "calls")
                called = _of_task(of, rows(INTERACTIONS, ("task", "interaction_id")))
                return (
                    f"{latest} AND interaction_id IN (SELECT c.interaction_id FROM ({called}) AS c)"  # noqa: S608
                )
            case "withheld":
                return self._source(
                    FEEDBACK,
                    start,
                    end,
                    names=("occurred_at_ms",),
                    tenant_id=of.tenant_id,
                    is_allowed=False,
                )
        raise NotFound(f"there is no relation {name!r}")

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

        `is_allowed` False returns those that consent keeps out of reports; the erased are in neither.
        """
        whole, files = self._files(table, start, end)
        if not is_allowed:
            whole = []
        where = f" WHERE {_within(table, start, end)}"
        tenant = "" if tenant_id is None else f" AND tenant_id = {engine.quoted(tenant_id)}"
        is_asked = "consent_analyze" in table.names and table is not CONSENTS
        read = [*names, *(name for name in _ASKED_OF if is_asked and name not in names)]
        columns = ", ".join(read)
        asked = [engine.files_sql(self.folder, files, columns=columns)] if files else []
        # An empty side of a union would hide from the engine how much the other has.
        if table.name in self._with_tail or not (whole or files):
            asked.append(f"SELECT {columns} FROM main.tail_{table.name}")  # noqa: S608
        parts = []
        if whole:
            plain = engine.files_sql(self.folder, whole, columns=", ".join(names))
            parts.append(f"{plain} WHERE TRUE{tenant}")
        if asked:
            source = " UNION ALL ".join(part + where + tenant for part in asked)
            parts.append(self._agreed(source, read, names, is_allowed) if is_asked else source)
        return " UNION ALL ".join(parts)

    def _files(self, table: Table, start: int, end: int) -> tuple[list[File], list[File]]:
        """Return the files with rows of that time: those wholly in it whose every row counts, and the others."""
        whole: list[File] = []
        others: list[File] = []
        for file in self._manifest.files:
            if file.table == table.name and file.to_ms >= start and file.from_ms < end:
                is_inside = start <= file.from_ms and file.to_ms < end
                is_whole = is_inside and file.withheld == 0 and not self._has_people
                (whole if is_whole else others).append(file)
        return whole, others

    def _agreed(
        self, source: str, read: Sequence[str], names: Sequence[str], is_allowed: bool
    ) -> str:
        """Return `names` of the rows of `source` (`read`) that their people let into reports, or do not."""
        if self._has_people:
            source = allowed_sql(source, read, people="main.people")
        agreed = "consent_store AND consent_analyze"
        kept = agreed if is_allowed else f"NOT ({agreed})"
        return f"SELECT {', '.join(names)} FROM ({source}) AS allowed WHERE {kept}"  # noqa: S608 - our own names


def _window(of: _Slice, name: str) -> tuple[int, int]:
    """Return the time that a relation holds: wider than the period where the other end of a link may be."""
    if name in ("calls", "choices"):
        return of.start - LOOKBACK_MS, of.end + DAY_MS
    if name == "links":
        return of.start - DAY_MS, of.end + LOOKBACK_MS
    return of.start, of.end


def _of_task(of: _Slice, sql: str) -> str:
    """Return the rows of `sql` that are of the task asked for, all when none is."""
    if of.task is None:
        return sql
    return f"SELECT * FROM ({sql}) AS every WHERE task = {engine.quoted(of.task)}"  # noqa: S608


def _within(table: Table, start: int, end: int) -> str:
    at = table.event_time
    bounds = [f"{at} >= {start}"] if start > BEGINNING else []
    bounds += [f"{at} < {end}"] if end < END else []
    return " AND ".join(bounds) or "TRUE"


def _latest_steps(source: str) -> str:
    return (
        "SELECT * FROM (SELECT *, row_number() OVER "  # noqa: S608 - our own names
        "(PARTITION BY tenant_id, step_id ORDER BY log_offset DESC) AS place "
        f"FROM ({source}) AS every) AS placed WHERE place = 1"
    )


def _period(from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    start = BEGINNING if from_ms is None else from_ms
    end = END if to_ms is None else to_ms
    if not BEGINNING <= start < end <= END:
        raise Invalid(
            f"the period from {from_ms} to {to_ms} is empty; to_ms is the end, after from_ms, in milliseconds"
        )
    return start, end
