"""The learner: one thread that reads the log, learns, publishes, and remembers how far it has come.

Everything but the thread may be called from any thread. The parts are `places` (where each experiment stands),
`publisher`, `checkpoints`, `views` and `rollback`; they share one lock, which is held for a stretch at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import Broken, LoopError, Overloaded
from loopwright.core.events import Fact, Ticked
from loopwright.core.ports import Committed, Database, SnapshotStore
from loopwright.eventlog import Reader, Writer
from loopwright.policies import Snapshots

from .checkpoints import Checkpoints, Kept
from .group import Key
from .places import Places
from .publisher import Publisher
from .rollback import Rollbacks
from .store import Snapshot, Store
from .trainer import Trainer
from .views import Views

_logger = logging.getLogger(__name__)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much at once, and how often."""

    batch: int = 4096
    """Most facts read in one go."""
    checkpoint_s: float = 0.2
    """Least time between checkpoints."""
    snapshot_s: float = 300.0
    """Event time after which a changed state is kept as a snapshot."""
    snapshot_rows: int = 20_000
    """Rewards after which a changed state is kept as a snapshot."""
    rest: float = 6.0
    """Length of the rest after a stretch, in units of the time the stretch took."""
    rest_at_most_s: float = 0.004
    """Longest rest: what it may add to the time from feedback to a snapshot that has seen it."""
    idle_s: float = 0.1
    """How long to wait for facts before looking at windows and checkpoints."""


_PACE: Final = Pace()


class Learner:
    """Learns every experiment from the log and publishes what serves.

    Making one loads the last checkpoint and publishes every running experiment. The log says which experiments there
    are and when each starts, pauses, resumes and ends. `head` says how far the log goes, `shed` how many decision
    rows never reached it; `follow` is called with each control fact as it is read, for caches of the control plane. What is
    published also goes to `outlet`, if there is one, as bytes for doors in other processes.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        database: Database,
        snapshots: Snapshots,
        outlet: SnapshotStore | None = None,
        head: Callable[[], int],
        clock: Clock,
        shed: Callable[[str, str], int] = lambda tenant_id, experiment_id: 0,
        follow: Callable[[Fact], None] = lambda fact: None,
        pace: Pace = _PACE,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._now_ms = clock.now_ms
        self._pace = pace
        self._stopwatch = stopwatch
        self._lock = threading.RLock()
        self._progress = threading.Condition(self._lock)
        store = Store(database)
        self._publisher = Publisher(snapshots, stopwatch, outlet)
        self._kept = Kept(after_s=pace.snapshot_s, after_rows=pace.snapshot_rows)
        self._places = Places(
            reader,
            store,
            self._publisher,
            keep=self._keep,
            follow=follow,
        )
        self._checkpoints = Checkpoints(
            store, self._places, self._kept, every_s=pace.checkpoint_s, stopwatch=stopwatch
        )
        self.views = Views(
            self._lock, self._places, self._publisher, self._checkpoints, head=head, shed=shed
        )
        self.status, self.dump = self.views.status, self.views.dump
        self.snapshots, self.snapshot = self.views.snapshots, self.views.snapshot
        rollbacks = Rollbacks(
            self._lock,
            self.views,
            self._checkpoints,
            keep=self._keep,
            writer=writer,
            clock=clock,
        )
        self.take_snapshot, self.roll_back = rollbacks.take_snapshot, rollbacks.roll_back
        self._ticked_ms = -1
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_driven = False
        self.failure: Exception | None = None
        """Why the learner has stopped; None while it runs."""

    def start(self) -> None:
        """Learn on a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="loopwright-learner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and write a checkpoint."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self.failure is None:
                self._checkpoints.try_to_save()

    def step(self) -> int:
        """Read and learn one stretch of the log, publish and perhaps checkpoint; return the facts read.

        What the thread does over and over; 0 means that the log is read to its end and all is published.
        """
        with self._lock:
            if self._places.is_half_read:
                self._places.load()
            read, changed = self._places.read(self._pace.batch)
            for key in changed:
                self._take_note(key)
            # At the end of the log whatever the rest says: there is no other work that publishing could
            # hold up.
            if not read or not self._publisher.rest_s:
                self._publisher.publish_waiting()
            self._checkpoints.save_if_due()
            self._progress.notify_all()
            return read

    @property
    def offset(self) -> int:
        """Offset through which the log has been read."""
        return self._places.main.offset

    @property
    def published(self) -> int:
        """Snapshots published since the start."""
        return self._publisher.published

    @property
    def unknown(self) -> int:
        """Times, since the start, that facts of an experiment that the log never told of were passed over."""
        return self._places.unknown

    def standing(self) -> dict[Key, int]:
        """Return the offsets at which experiments from before control facts had stopped, for `Catalog.adopt`."""
        with self._lock:
            dormant = self._places.dormant.items()
            return {key: position[0] for key, (_, position) in dormant}

    def caught_up(self, offset: int) -> bool:
        """Whether every running experiment has learned through `offset` and serves what it learned."""
        with self._lock:
            places = self._places
            is_published = not self._publisher.is_waiting
            return places.main.offset >= offset and not places.is_behind and is_published

    def wait_until(self, offset: int, timeout_s: float) -> bool:
        """Wait until `caught_up(offset)`; False when `timeout_s` passes first. Raises what stopped the learner."""
        return self._wait(lambda: self.caught_up(offset), timeout_s)

    def wait_until_read(self, offset: int, timeout_s: float) -> bool:
        """Wait until control facts through `offset` are in force; False when `timeout_s` passes first.

        Raises what stopped the learner. One that was never started reads on the thread of the caller.
        """
        if not self._is_driven:
            while self.offset < offset:
                self.step()
            return True
        return self._wait(lambda: self.offset >= offset, timeout_s)

    def _wait(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        with self._progress:
            self._progress.wait_for(lambda: self.failure is not None or holds(), timeout_s)
            if self.failure is not None:
                raise Broken(f"the learner has stopped: {self.failure}") from self.failure
            return holds()

    def _keep(self, trainer: Trainer) -> Snapshot:
        return self._kept.keep(trainer, self._places.main.event_ms)

    def _take_note(self, key: Key) -> None:
        """Publish a changed state soon, and keep it if that is due."""
        trainer = self._places.trainer(key)
        if trainer is None or key in self._places.halted:
            return
        if self._places.serves(key):
            self._publisher.changed(trainer)
        self._kept.keep_if_due(trainer, self._places.main.event_ms)

    def _tick(self) -> None:
        """Write down that time has passed a window's end, when no other fact says so."""
        main = self._places.main
        due_ms, now_ms = main.next_due_ms(), self._now_ms()
        # One tick at a time: until it comes back through the log, another would say nothing new.
        is_on_its_way = self._ticked_ms > main.event_ms
        if now_ms <= due_ms or main.event_ms > due_ms or is_on_its_way:
            return
        self._ticked_ms = now_ms

        def done(outcome: Committed | LoopError) -> None:
            if isinstance(outcome, LoopError):
                self._ticked_ms = -1

        try:
            self._writer.submit([Ticked(now_ms)], [None], done)
        except Overloaded:
            # Facts are arriving in plenty; they carry the time themselves.
            self._ticked_ms = -1

    def turn(self) -> None:
        """Read one stretch, then rest or wait for facts: one round of a loop that something else drives.

        What it raises is `failure` until a later round succeeds. A round may be repeated: when the failed one
        learned half of a stretch, the next begins at the last checkpoint.
        """
        self._is_driven = True
        started = self._stopwatch()
        try:
            read = self.step()
            if read < self._pace.batch:
                self._rest(self._stopwatch() - started)
        except Exception as error:
            with self._progress:
                self.failure = error
                self._progress.notify_all()
            raise
        self.failure = None

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.turn()
        except Exception:
            _logger.exception("the learner has stopped")

    def _rest(self, step_s: float) -> None:
        """Leave the interpreter to serving for a while, then wait for facts, unless there is work without them.

        Each stretch has a price whatever its length, so one that is read as soon as it is there would take
        many times the processor; a rest of a few milliseconds lets facts gather.
        """
        self._stopping.wait(min(self._pace.rest * step_s, self._pace.rest_at_most_s))
        if self._publisher.is_waiting or self._places.is_behind:
            return
        if not self._reader.wait(self.offset, self._pace.idle_s):
            with self._lock:
                self._tick()
