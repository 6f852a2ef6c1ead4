"""The role that looks after the stored data: expiry, derived signals, the warehouse's files, segments.

Each job is a task of its own, so that one that fails, such as projection on a full disk, leaves the others running:
above all the deletion of raw copies, which is promised for a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from loopwright.app.settings import Settings
from loopwright.app.supervise import Pace, Task
from loopwright.backends import resolve
from loopwright.core.clock import Clock
from loopwright.core.errors import Broken
from loopwright.core.events import Ticked
from loopwright.eventlog import Sealer, Writer
from loopwright.signals.expectations import Expectations
from loopwright.signals.registry import FOLDER as SURROGATES
from loopwright.signals.registry import Surrogates
from loopwright.signals.sessions import Sessions
from loopwright.warehouse import CONSUMER as WAREHOUSE
from loopwright.warehouse import FOLDER, Loader
from loopwright.warehouse.loader import LoaderBusy

from .truth import Truth

# Projection costs 10 to 20 µs of Python a fact, as much as a select, and under load it took a tenth of the
# server's capacity (docs/decisions/0006).
QUIET: Final = 500
"""Facts a second below which there is time for the upkeep that would slow serving down."""
PROJECT_AFTER: Final = 10_000
"""Facts beyond the warehouse's files after which they are projected in a quiet moment; until then, and while it is
busy, reports read them from the log."""
PROJECT_AT_LATEST: Final = 1_000_000
"""Facts beyond the warehouse's files after which they are projected however busy it is."""
PROBE_TIMEOUT_S: Final = 30.0
"""Longest wait for the commit that tries whether a log that failed can be written again."""

PACE: Final = Pace(every_s=5.0)
WATCH: Final = Pace(every_s=1.0, retry_at_most_s=5.0)


class Traffic:
    """Measures how fast the log grows, over stretches of at least `stretch_s`. Any thread may ask."""

    def __init__(
        self,
        head: Callable[[], int],
        clock: Clock,
        *,
        count: Callable[[int, int], int],
        stretch_s: float = 5.0,
    ) -> None:
        self._head = head
        self._count = count
        self._now_ms = clock.now_ms
        self._stretch_ms = stretch_s * 1000
        self._lock = threading.Lock()
        self._since = (clock.now_ms(), head())
        self._rate = 0.0

    def rate(self) -> float:
        """Return the facts per second of the latest whole stretch; 0 before the first has passed."""
        with self._lock:
            now_ms, head = self._now_ms(), self._head()
            began_ms, began = self._since
            # Whole stretches only: between two batches of one client the log stands still for a moment.
            if now_ms - began_ms >= self._stretch_ms:
                self._rate = self._count(began, head) * 1000 / (now_ms - began_ms)
                self._since = (now_ms, head)
            return self._rate


def watch_writer(writer: Writer, clock: Clock) -> None:
    """Raise why the event log cannot be written; return when it can.

    Readiness sends no traffic to a process whose log failed, so no request would find out that the disk is well
    again. After a failure one commit therefore tries it.
    """
    if not writer.is_alive:
        raise Broken("the thread that writes the event log has ended; restart the process")
    if writer.failure is not None:
        writer.append([Ticked(clock.now_ms())], [None], timeout_s=PROBE_TIMEOUT_S)


class Keeper:
    """Expires, derives, projects, seals and trims; and watches the thread that writes the log.

    `tasks` is all its background work. `stopping` says when a job that takes long should return.
    """

    def __init__(
        self,
        truth: Truth,
        settings: Settings,
        opened: ExitStack,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._truth = truth
        self._stopping = stopping
        consumers = self.consumers = truth.consumers
        # Registered first: the log may be trimmed past a reader that is not registered.
        consumers.register(WAREHOUSE)
        self.surrogates = Surrogates(resolve.blob_store(truth.at.blobs, SURROGATES))
        self.sessions = Sessions(
            truth.reader,
            truth.writer,
            database=truth.state_database,
            consumers=consumers,
            clock=truth.clock,
            shaping=Expectations(self.surrogates, find=truth.find, people=truth.people),
        )
        self.loader = Loader(
            truth.reader,
            resolve.blob_store(truth.at.blobs, FOLDER),
            engine=resolve.loading_engine(truth.at.blobs, FOLDER),
            lease=resolve.lease(truth.at.blobs, FOLDER),
            clock=truth.clock,
            consumers=consumers,
            database=truth.state_database,
            retain_days=settings.retain_days,
        )
        self._sealer = Sealer(
            truth.log,
            truth.segments,
            consumed=consumers.slowest,
            keep=settings.seal_after_events,
        )
        self._traffic = Traffic(truth.log.head, truth.clock, count=truth.reader.count)
        # The jobs that compute for long take turns: two at once would take a second processor from serving.
        self._long_job = threading.Lock()
        # Runs while the catalog's database is open: callbacks run in the reverse order.
        opened.callback(truth.catalog.keys.flush_last_used)

    def tasks(self) -> Sequence[Task]:
        """Return the background work of this role."""
        return [
            Task(
                name="log-writer",
                run=lambda: watch_writer(self._truth.writer, self._truth.clock),
                pace=WATCH,
                is_vital=True,
            ),
            Task(name="raw-sweep", run=self.sweep_raw_copies, pace=PACE),
            Task(name="scrub", run=self.scrub, pace=PACE),
            Task(name="sessions", run=self.derive_signals, pace=PACE),
            Task(name="projection", run=self.project, pace=PACE),
            Task(name="usage", run=self.count_usage, pace=PACE),
            Task(name="sealing", run=self.seal, pace=PACE),
            Task(name="last-used", run=self._truth.catalog.keys.flush_last_used, pace=PACE),
            Task(name="outbox", run=self._truth.catalog.relay, pace=PACE),
        ]

    def sweep_raw_copies(self) -> None:
        """Delete the raw copies whose time is over, however busy it is."""
        if self._truth.raw is not None:
            self._truth.raw.sweep()

    def scrub(self) -> None:
        """Overwrite in the files what was deleted from the private databases."""
        for database in self._truth.private:
            database.scrub()

    def derive_signals(self) -> None:
        """Derive signals from sessions, in a quiet moment."""
        if self._has_time():
            with self._long_job:
                self.sessions.run(stopping=self._stopping)

    def count_usage(self) -> None:
        """Count what tenants sent and store: in a quiet moment, or at once while a quota depends on it."""
        meters = self._truth.catalog.meters
        if meters or self._has_time():
            self._truth.usage.run(stopping=self._stopping)
            meters.note_bytes(self._truth.usage.stored_bytes)

    def project(self) -> None:
        """Project facts into the warehouse's files, in a quiet moment and once they are many."""
        if self._behind() >= PROJECT_AFTER and self._has_time():
            with self._long_job:
                try:
                    self.loader.run()
                except LoaderBusy:
                    # A report or another process projects at this moment: the work is being done.
                    return

    def seal(self) -> None:
        """Move old facts into segments and trim the log, in a quiet moment."""
        if self._has_time():
            with self._long_job:
                # In this order a crash in between leaves facts in both places, and never in none.
                self._sealer.seal()
                self._sealer.trim()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nothing be derived, projected or sealed for the length of a block."""
        with self._long_job:
            yield

    def _behind(self) -> int:
        return self._truth.reader.count(self.consumers.position(WAREHOUSE))

    def _has_time(self) -> bool:
        return self._traffic.rate() < QUIET or self._behind() >= PROJECT_AT_LATEST
