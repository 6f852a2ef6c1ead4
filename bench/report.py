"""A quality report over ten million events: how long one tenant's takes, everyone's, and the wide join.

The large set (50 tenants, 60 days; 4 million calls, 5 million pieces of feedback, 1 million outcomes) is made
once, in `bench/data/`, by the warehouse's own file writer. Behind it stands a real event log, so that the
time from a commit to its being in a report is measured with all ten million rows in place. The projection
rate is measured on another real log. `--quick` makes a smaller set unless the large one is there; `events`
says which it was.

`tenant_s` is every question about the 30 days of one tenant's report; `quality_s` is the whole report as a server
makes it, with the same questions about the 30 days before and all statistics. `all_s` is what a manager of all tenants looks at,
over 30 days: `tenants`, `satisfaction_by_day`, `by_category` and `stats`, and not the whole report for
everybody at once. `join_s` is `overview`, the wide join of all calls with all that was learned about them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from loopwright.backends import resolve
from loopwright.backends.duckdb import DuckDB
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.clock import Clock, SystemClock
from loopwright.core.events import Fact, Interacted, Reported
from loopwright.core.feedback import Correction, Note, Outcome, Rating, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.eventlog import Reader, Writer
from loopwright.insights import Insights
from loopwright.insights.tallies import days_query, units_query
from loopwright.insights.targets import CATALOGUE
from loopwright.testing import ManualClock
from loopwright.warehouse import Loader, Warehouse, layout, manifest
from loopwright.warehouse.manifest import File, Manifest
from loopwright.warehouse.period import Period
from loopwright.warehouse.queries import Query
from loopwright.warehouse.tables import FEEDBACK, INTERACTIONS, TABLES_VERSION, Table

DATA: Final = Path(__file__).parent / "data"
DAY_MS: Final = 86_400_000
DAYS: Final = 60
END_MS: Final = 20_400 * DAY_MS
TENANTS: Final = 50

REPORT: Final[tuple[tuple[str | Query, dict[str, Any]], ...]] = (
    (units_query(CATALOGUE), {}),
    (days_query(CATALOGUE), {}),
    ("satisfaction_by_day", {}),
    ("stats", {}),
    ("by_prompt_version", {}),
    ("by_model_version", {}),
    ("by_category", {}),
    ("by_segment", {"dimension": "device_type"}),
    ("join_health", {}),
    ("version_units", {}),
    ("unit_totals", {}),
    ("negative_texts", {"limit": 2_000}),
    ("asked_queries", {"limit": 2_000}),
    ("period_counts", {}),
)
"""Every question that one quality report asks."""

EVERYONE: Final = ("tenants", "satisfaction_by_day", "by_category", "stats")
"""What a manager of all tenants looks at."""

# Every column that is not named here is NULL. `c` is the number of a call, from which all about it follows.
_CALL: Final = {
    "tenant_id": "'tenant-' || (c * 7919 % 50)",
    "trace_id": "md5('t' || c)",
    "span_id": "substr(md5('p' || c), 1, 16)",
    "session_id": "md5('s' || (c // 4))",
    "message_id": "md5('m' || c)",
    "prompt_version": "'p' || (c * 31 % 5)",
    "model_version": "'m' || (c * 17 % 4)",
}
_CALLS: Final = {
    **_CALL,
    "interaction_id": "md5('i' || c)",
    "decision_id": "md5('d' || c)",
    "event_id": "md5('e' || c)",
    "at_ms": "started_at_ms + 150",
    "person": "md5('u' || (c * 13 % 20000))",
    "task": "'task-' || (c % 4)",
    "input_hash": "md5('h' || (c % 100000))",
    "model_id": "'model'",
    "input_tokens": "200 + c % 900",
    "output_tokens": "100 + c % 500",
    "cost": "0.001 * (c % 40)",
    "server_latency_ms": "200.0 + c % 700",
    "client_latency_ms": "260.0 + c % 800",
    "error": "CASE WHEN c % 97 = 0 THEN 'timeout' END",
    "query": "CASE WHEN c % 5 = 0 THEN 'show me the sales of region ' || (c % 300) || ' by month' END",
    "country": "CASE c % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'US' ELSE 'JP' END",
    "device_type": "CASE c % 2 WHEN 0 THEN 'web' ELSE 'mobile' END",
    **{f"consent_{scope}": "TRUE" for scope in ("store", "analyze", "train", "share")},
}
_FACTS: Final = {
    "tenant_id": _CALL["tenant_id"],
    "event_id": "md5('f' || k)",
    "at_ms": "occurred_at_ms + 200",
    "kind": "CASE WHEN k % 6 = 5 THEN 'outcome' WHEN k % 6 < 3 THEN 'rating' WHEN k % 6 = 3 THEN 'signal' "
    "ELSE CASE WHEN k % 12 = 4 THEN 'correction' ELSE 'signal' END END",
    "metric": "CASE WHEN k % 6 = 5 THEN 'resolved' WHEN k % 6 < 3 THEN 'rating' WHEN k % 12 = 4 "
    "THEN 'correction_distance' ELSE CASE k % 5 WHEN 0 THEN 'copy' WHEN 1 THEN 'retry' WHEN 2 THEN "
    "'refinement' WHEN 3 THEN 'abandonment' ELSE 'dwell' END END",
    "value": "CASE WHEN k % 6 = 5 THEN k % 2 WHEN k % 6 < 3 THEN level ELSE 0.4 END",
    "scale": "CASE WHEN k % 6 IN (0, 1) THEN 'thumbs' WHEN k % 6 = 2 THEN 'stars' END",
    "rating": "CASE WHEN k % 6 IN (0, 1) THEN level WHEN k % 6 = 2 THEN 1 + 4 * level END",
    "satisfaction": "CASE WHEN k % 6 < 3 THEN level END",
    "low": "CASE WHEN k % 6 IN (0, 1) THEN 0 WHEN k % 6 = 2 THEN 1 END",
    "high": "CASE WHEN k % 6 IN (0, 1) THEN 1 WHEN k % 6 = 2 THEN 5 END",
    "decision_id": "CASE WHEN k % 10 < 5 THEN md5('d' || c) END",
    "trace_id": f"CASE WHEN k % 10 IN (5, 6) THEN {_CALL['trace_id']} END",
    "span_id": f"CASE WHEN k % 10 IN (5, 6) THEN {_CALL['span_id']} END",
    "session_id": f"CASE WHEN k % 10 IN (7, 8) THEN {_CALL['session_id']} END",
    "message_id": f"CASE WHEN k % 10 IN (7, 8) THEN {_CALL['message_id']} END",
    "output_id": "CASE WHEN k % 10 = 9 THEN md5('i' || (c + CASE WHEN k % 20 = 9 THEN 900000000 ELSE 0 END)) END",
    "person": "md5('u' || (c * 13 % 20000))",
    "source": "'end_user'",
    "category": "CASE k % 4 WHEN 0 THEN 'accuracy' WHEN 1 THEN 'tone' WHEN 2 THEN 'speed' ELSE 'other' END",
    "category_by": "'rules'",
    "message": "CASE WHEN k % 9 = 0 THEN 'the answer about region ' || (c % 300) || ' was '"
    " || CASE WHEN level < 0.5 THEN 'wrong again, the dates do not match' ELSE 'just what I needed' END END",
    "before_text": "CASE WHEN k % 12 = 4 THEN 'SELECT a FROM sales WHERE region = ' || (c % 300) END",
    "after_text": "CASE WHEN k % 12 = 4 THEN 'SELECT a, b FROM sales WHERE region = ' || (c % 300) END",
    "device_type": "CASE k % 2 WHEN 0 THEN 'web' ELSE 'mobile' END",
    "shape": "'native'",
    **{f"consent_{scope}": "TRUE" for scope in ("store", "analyze", "train", "share")},
}


class Shifted(Reader):
    """A real log whose first fact has the offset after `base`: it stands behind files that were made without one."""

    def __init__(self, log: SqliteEventLog, base: int) -> None:
        super().__init__(log)
        self._base = base

    def facts(
        self, after: int, *, limit: int, through: int | None = None
    ) -> list[tuple[int, Fact]]:
        """Return the facts beyond `after`."""
        found = super().facts(after - self._base, limit=limit)
        return [(self._base + offset, fact) for offset, fact in found]


def loader(reader: Reader, folder: Path, *, clock: Clock, **options: Any) -> Loader:
    """Return a loader as the server has it."""
    url = resolve.file_url(folder.parent)
    return Loader(
        reader,
        FolderBlobStore(folder),
        engine=resolve.loading_engine(url, folder.name),
        lease=resolve.lease(url, folder.name),
        clock=clock,
        **options,
    )


def large_set(events: int) -> Path:
    """Return a warehouse folder of that many events, made now unless it is there as we would make it."""
    folder = DATA / f"warehouse-{events}"
    found = manifest.read(FolderBlobStore(folder))
    if found.format == TABLES_VERSION and found.parts and found.parts[0].withheld is not None:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.perf_counter()
    calls, facts = events * 4 // 10 // DAYS, events * 6 // 10 // DAYS
    files: list[File] = []
    with closing(DuckDB(folder)) as connection:
        for day in range(DAYS):
            files += _day_files(connection, day, (calls, facts))
            if day % 10 == 9:
                print(f"made {day + 1} of {DAYS} days in {time.perf_counter() - began:.0f} s")
    watermark = (calls + facts) * DAYS
    manifest.publish(FolderBlobStore(folder), Manifest(), watermark=watermark, parts=tuple(files))
    # As the product would have it: weeks that are over are merged.
    with tempfile.TemporaryDirectory(dir=DATA) as scratch:
        log = SqliteEventLog(Path(scratch) / "log.db")
        reader = Shifted(log, watermark)
        loader(reader, folder, clock=ManualClock(END_MS), grace_ms=0).run()
        log.close()
    return folder


def _day_files(connection: DuckDB, day: int, sizes: tuple[int, int]) -> Iterator[File]:
    calls, facts = sizes
    start, offset = END_MS - (DAYS - day) * DAY_MS, (calls + facts) * day
    first = calls * day
    sources = {
        INTERACTIONS: (
            _CALLS,
            f"SELECT c, {offset} + c - {first} + 1 AS log_offset, "  # noqa: S608 - numbers
            f"{start} + (c - {first}) * {DAY_MS} // {calls} AS started_at_ms "
            f"FROM range({first}, {first + calls}) AS r(c)",
        ),
        # Feedback comes on the day of its call; its level depends on the prompt, so that there is something to find.
        FEEDBACK: (
            _FACTS,
            f"SELECT k, c, {offset + calls} + k - {facts * day} + 1 AS log_offset, "  # noqa: S608 - numbers
            f"{start} + (k - {facts * day}) * {DAY_MS} // {facts} AS occurred_at_ms, "
            "CASE WHEN k * 37 % 100 < 70 + c * 31 % 5 * 5 THEN 1.0 ELSE 0.0 END AS level "
            f"FROM (SELECT k, {first} + k * 48271 % {calls} AS c "
            f"FROM range({facts * day}, {facts * (day + 1)}) AS r(k)) AS drawn",
        ),
    }
    for table, (made, source) in sources.items():
        plain = ", ".join(
            f"CAST({made.get(c.name, _given(table, c.name))} AS {c.type}) AS {c.name}"
            for c in table.columns
            if not c.name.endswith("_key")
        )
        file = layout.write_file(
            connection,
            f"SELECT {layout.columns_sql(table)} FROM (SELECT {plain} FROM ({source}) AS s) AS t ORDER BY tenant_id, at_ms, log_offset",  # noqa: S608
            name=f"{table.name}/{time.strftime('%Y-%m-%d', time.gmtime(start / 1000))}/{day:020}.parquet",
            table=table,
        )
        if file is not None:
            yield file


def _given(table: Table, name: str) -> str:
    return name if name in ("log_offset", table.event_time) else "NULL"


def facts_like_it(rng: random.Random, now_ms: int) -> Iterator[Fact]:
    """Yield calls and feedback like those of the large set, without end."""

    def name() -> str:
        return f"{rng.getrandbits(128):032x}"

    for k in itertools.count():
        at_ms, tenant = now_ms + k // 100, f"tenant-{k % TENANTS}"
        if k % 10 < 4:
            call = Interaction(
                id=name(), started_at_ms=at_ms, trace_id=name(), span_id=name()[:16], session_id=name(),
                message_id=name(), decision_id=name(), person=name(), task=f"task-{k % 4}", input_hash=name(),
                prompt_version=f"p{k % 5}", model_id="model", model_version=f"m{k % 4}", input_tokens=300,
                output_tokens=200, cost=0.01, server_latency_ms=300.0, client_latency_ms=400.0, country="DE",
                labels={"device_type": "web"},
            )  # fmt: skip
            yield Interacted(name(), at_ms, tenant, call)
            continue
        kind = (
            Rating(1.0, "thumbs"), Rating(4.0, "stars", 1.0, 5.0), Rating(0.0, "thumbs"), Signal("copy"),
            Correction("SELECT a FROM b", "SELECT a, c FROM b", "a column is missing", 0.3), Outcome("resolved", 1.0),
        )[k % 6]  # fmt: skip
        note = Note(
            occurred_at_ms=at_ms, person=name(), task=f"task-{k % 4}", category="accuracy", category_by="rules",
            message="the answer about the dates was wrong again" if k % 9 == 0 else None,
            labels={"prompt_version": f"p{k % 5}", "device_type": "web"},
        )  # fmt: skip
        target = (
            Target(decision_id=name())
            if k % 10 < 7
            else Target(session_id=name(), message_id=name())
        )
        yield Reported(name(), at_ms, tenant, target, kind, note)


def real_log(path: Path, count: int) -> SqliteEventLog:
    """Return a log of `count` facts, in batches of a thousand, made now unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = SqliteEventLog(path)
    facts = facts_like_it(random.Random(7), END_MS)
    missing = count - log.head()
    for _ in range(max(missing, 0) // 1000):
        body = upcast.encode(list(itertools.islice(facts, 1000)))
        log.append(body, count=1000, version=upcast.SCHEMA_VERSION, keys=[])
    return log


def projection(count: int) -> dict[str, float]:
    """Return the rate of log to Parquet and the size of what comes out."""
    log = real_log(DATA / f"report-log-{count}" / "log.db", count)
    with tempfile.TemporaryDirectory(dir=DATA) as name:
        folder = Path(name)
        loading = loader(Reader(log), folder, clock=ManualClock(END_MS), most_files=1000)
        began = time.perf_counter()
        facts = loading.run().facts
        took = time.perf_counter() - began
        began = time.perf_counter()
        loader(Reader(log), folder, clock=ManualClock(END_MS + DAY_MS)).run()
        merged = time.perf_counter() - began
        size = sum(file.size for file in manifest.read(FolderBlobStore(folder)).parts)
    log.close()
    return {
        "project_per_s": round(facts / took),
        "merge_per_s": round(facts / merged),
        "projected_bytes_per_event": round(size / facts, 1),
    }


def freshness(warehouse: Warehouse, writer: Writer, *, trials: int) -> float:
    """Return the longest time from a commit's acknowledgement to a report that has its facts.

    Each trial begins right after a report was made, so that the next one would rather share its rows.
    """
    facts, slowest = facts_like_it(random.Random(11), END_MS - 1000), 0.0
    period: dict[str, Any] = {
        "tenant_id": "tenant-7",
        "from_ms": END_MS - 30 * DAY_MS,
        "to_ms": END_MS + DAY_MS,
    }
    stored = threading.Semaphore(0)
    for _ in range(trials):
        group = list(itertools.islice(facts, 1000))
        expected = sum(isinstance(f, Reported) and f.tenant_id == "tenant-7" for f in group)
        before = warehouse.query("stats", **period).rows[0][0]
        writer.submit(group, [None] * len(group), lambda _: stored.release())
        stored.acquire()
        began = time.perf_counter()
        while warehouse.query("stats", **period).rows[0][0] < before + expected:
            time.sleep(0.005)
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that `act` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def ask(
    warehouse: Warehouse, tenant_id: str | None, names: Sequence[str | Query], *, days: int
) -> None:
    """Put questions about the last days."""
    for name in names:
        params = next((given for said, given in REPORT if said is name), {})
        warehouse.query(
            name, tenant_id=tenant_id, from_ms=END_MS - days * DAY_MS, to_ms=END_MS, **params
        )


def reports(events: int, *, rounds: int) -> dict[str, float]:
    """Return the times of the reports over the set of that many events."""
    folder = large_set(events)
    found = manifest.read(FolderBlobStore(folder))
    names = [name for name, _ in REPORT]
    with tempfile.TemporaryDirectory(dir=DATA) as scratch:
        log = SqliteEventLog(Path(scratch) / "log.db")
        reader = Shifted(log, found.watermark)
        writer = Writer(log, SystemClock())
        warehouse = Warehouse(
            FolderBlobStore(folder),
            reader,
            engine=DuckDB(folder, memory="4GB"),
            loader=loader(reader, folder, clock=SystemClock()),
            clock=SystemClock(),
        )
        opened = timed(warehouse.refresh)
        tenants = [f"tenant-{3 + 7 * k}" for k in range(rounds)]
        tenant = [timed(lambda t=t: ask(warehouse, t, names, days=30)) for t in tenants]  # type: ignore[misc]
        insights, month = (
            Insights(warehouse, clock=ManualClock(END_MS)),
            Period(from_ms=END_MS - 30 * DAY_MS, to_ms=END_MS),
        )
        others = [f"tenant-{4 + 7 * k}" for k in range(rounds)]
        quality = [timed(lambda t=t: insights.report(t, month)) for t in others]  # type: ignore[misc]
        # The join is over everything there is; the others are 30-day reports.
        everyone = [timed(lambda: ask(warehouse, None, EVERYONE, days=30)) for _ in range(rounds)]
        join = [timed(lambda: ask(warehouse, None, ["overview"], days=DAYS)) for _ in range(rounds)]
        fresh = freshness(warehouse, writer, trials=rounds + 2)
        writer.close()
        warehouse.close()
        log.close()
    return {
        "events": sum(file.rows for file in found.parts),
        "open_s": round(opened, 3),
        "tenant_s": round(statistics.median(tenant), 3),
        "quality_s": round(statistics.median(quality), 3),
        "all_s": round(statistics.median(everyone), 3),
        "join_s": round(statistics.median(join), 3),
        "fresh_s": round(fresh, 3),
        "bytes_per_event": round(sum(f.size for f in found.parts) / found.watermark, 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--events", type=int, default=10_000_000)
    options = parser.parse_args(argv)
    events = options.events
    if options.quick and not (DATA / f"warehouse-{events}" / "manifests").exists():
        events = min(events, 600_000)
    figures = reports(events, rounds=3 if options.quick else 5)
    figures |= projection(100_000 if options.quick else 500_000)
    print(json.dumps({"bench": "report", "figures": figures}))


if __name__ == "__main__":
    main()
