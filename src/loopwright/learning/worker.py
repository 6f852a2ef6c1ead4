"""The learner: reads the log, learns, publishes, and remembers how far it has come.

One thread learns; everything else may be called from any thread. The state in memory runs ahead of the last
checkpoint by a fraction of a second, and that is safe: state and offset are written together, so after a crash
the same facts are read again into the older state, with the same result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import Broken, Conflict, LoopError, NotFound, Overloaded
from loopwright.core.events import Fact, RolledBack, Ticked
from loopwright.core.experiment import Experiment
from loopwright.core.ports import Committed, Database
from loopwright.eventlog import Reader, Writer
from loopwright.policies import Snapshots

from .course import Course
from .joiner import Key
from .publisher import Publisher
from .report import drafted, info_of, inspected, reported
from .status import SnapshotInfo, Status
from .store import Checkpoint, Snapshot, Store
from .trainer import Trainer, read_state

_logger = logging.getLogger(__name__)

_WRITE_TIMEOUT_S: Final = 30.0


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

    Making one loads the last checkpoint and publishes every running experiment. `experiments` and `find` look
    into the catalog, `head` says how far the log goes, `shed` how many decision rows never reached it.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        database: Database,
        snapshots: Snapshots,
        experiments: Callable[[], Iterable[Experiment]],
        find: Callable[[str, str], Experiment | None],
        head: Callable[[], int],
        clock: Clock,
        shed: Callable[[str, str], int] = lambda tenant_id, experiment_id: 0,
        pace: Pace = _PACE,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._store = Store(database)
        self._find = find
        self._head = head
        self._now_ms = clock.now_ms
        self._shed = shed
        self._pace = pace
        self._stopwatch = stopwatch
        self._publisher = Publisher(snapshots, stopwatch)
        self._lock = threading.RLock()
        self._progress = threading.Condition(self._lock)
        self._committed = self._store.position()
        self._main = self._course(*self._committed, admit=self._admit)
        self._apart: dict[Key, Course] = {}
        self._halted: dict[Key, str] = {}
        self._kept: list[tuple[Key, Snapshot]] = []
        self._marks: dict[Key, tuple[int, int]] = {}
        self._checkpoint_at = 0.0
        self._ticked_ms = -1
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.unknown = 0
        """Times, since the start, that facts of an experiment unknown to the catalog were passed over."""
        self.failure: Exception | None = None
        """Why the learner has stopped; None while it runs."""
        self._load(experiments())

    # Life

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
                self._try_checkpoint()

    def step(self) -> int:
        """Read and learn one stretch of the log, publish and perhaps checkpoint; return the facts read.

        What the thread does over and over; 0 means that the log is read to its end and all is published.
        """
        with self._lock:
            facts = self._reader.facts(self._main.offset, limit=self._pace.batch)
            self._learned(self._main.read(facts))
            read = len(facts) + self._catch_up()
            if not read or not self._publisher.rest_s:
                self._publisher.publish_waiting()
            self._save_if_due()
            self._progress.notify_all()
            return read

    def turn(self) -> None:
        """Read one stretch, then rest or wait for facts: one round of a loop that something else drives.

        What it raises is `failure` until a later round succeeds. A round may be repeated: what the failed one
        read and did not learn is read again.
        """
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

    # Progress

    @property
    def offset(self) -> int:
        """Offset through which the log has been read."""
        return self._main.offset

    @property
    def published(self) -> int:
        """Snapshots published since the start."""
        return self._publisher.published

    @property
    def degraded(self) -> dict[Key, str]:
        """Experiments that do not serve what the log says, each with the reason."""
        with self._lock:
            return {**self._publisher.refused, **self._halted}

    def caught_up(self, offset: int) -> bool:
        """Whether every running experiment has learned through `offset` and serves what it learned."""
        with self._lock:
            behind = any(self._is_catching_up(key) for key in self._apart)
            return self._main.offset >= offset and not behind and not self._publisher.is_waiting

    def wait_until(self, offset: int, timeout_s: float) -> bool:
        """Wait until `caught_up(offset)`; False when `timeout_s` passes first. Raises what stopped the learner."""
        with self._progress:
            self._progress.wait_for(
                lambda: self.failure is not None or self.caught_up(offset), timeout_s
            )
            if self.failure is not None:
                raise Broken(f"the learner has stopped: {self.failure}") from self.failure
            return self.caught_up(offset)

    # Control

    def refresh(self, experiment: Experiment) -> None:
        """Take over a change of an experiment; on return it serves as it now says.

        A paused experiment keeps its place in the log and learns from there when it is resumed.
        """
        if experiment.state == "draft":
            return
        with self._lock:
            key = (experiment.tenant_id, experiment.id)
            trainer = self._trainer(key)
            if trainer is None:
                trainer = Trainer(experiment, self._store.shelf(key))
                self._main.join(trainer)
            else:
                trainer.renew(experiment)
            self._main.touched.add(key)
            self._halted.pop(key, None)
            self._place(trainer)

    def take_snapshot(self, tenant_id: str, experiment_id: str) -> SnapshotInfo:
        """Keep the present state of an experiment as a snapshot."""
        with self._lock:
            trainer = self._known(tenant_id, experiment_id)
            snapshot = self._keep(trainer)
            self._checkpoint()
            return info_of(snapshot, self._publisher.serving(trainer.key))

    def roll_back(self, tenant_id: str, experiment_id: str, *, version: int, actor: str) -> int:
        """Put an experiment back to a kept snapshot; return the offset of the fact that does it.

        The fact carries the state and takes effect when the learner reads it (see `wait_until`); a paused
        experiment reads it when it is resumed. Raises `NotFound` for a version that is not kept, `Conflict`
        when the experiment has ended.
        """
        with self._lock:
            trainer = self._known(tenant_id, experiment_id)
            if trainer.experiment.state == "ended":
                raise Conflict(
                    f"experiment '{experiment_id}' has ended and learns no more, so it cannot be rolled back"
                )
            snapshot = self._kept_snapshot(trainer.key, version)
            read_state(snapshot.state, trainer.experiment)
        return self._append(
            RolledBack(self._now_ms(), tenant_id, experiment_id, version, snapshot.state, actor)
        )

    # Views

    def status(self, tenant_id: str, experiment_id: str) -> Status:
        """Return how an experiment is doing; raises `NotFound`."""
        with self._lock:
            trainer = self._trainer((tenant_id, experiment_id))
            if trainer is None:
                return drafted(self._draft(tenant_id, experiment_id), head=self._head())
            key = trainer.key
            return reported(
                trainer,
                head=self._head(),
                shed=self._shed(tenant_id, experiment_id),
                serving=self._publisher.serving(key),
                is_apart=key in self._apart,
                degraded=self._halted.get(key) or self._publisher.refused.get(key, ""),
            )

    def snapshots(self, tenant_id: str, experiment_id: str) -> list[SnapshotInfo]:
        """Return the kept snapshots of an experiment, newest first; raises `NotFound`."""
        with self._lock:
            trainer = self._known(tenant_id, experiment_id)
            self._flush_kept()
            serving = self._publisher.serving(trainer.key)
            return [info_of(kept, serving) for kept in self._store.snapshots(trainer.key)]

    def snapshot(self, tenant_id: str, experiment_id: str, *, version: int) -> SnapshotInfo:
        """Return one kept snapshot with its arms as it sees them; raises `NotFound`."""
        with self._lock:
            trainer = self._known(tenant_id, experiment_id)
            kept = self._kept_snapshot(trainer.key, version)
            return inspected(kept, trainer, serving=self._publisher.serving(trainer.key))

    def dump(self, tenant_id: str, experiment_id: str) -> bytes:
        """Return an experiment's state and counts as bytes, to compare with those of a replay."""
        with self._lock:
            trainer = self._known(tenant_id, experiment_id)
            return trainer.dump() + trainer.tally.dump()

    def positions(self) -> dict[Key, int]:
        """Return the offset that each experiment has read through."""
        with self._lock:
            along = dict.fromkeys(self._main.trainers, self._main.offset)
            return {**along, **{key: course.offset for key, course in self._apart.items()}}

    def expected(self) -> dict[Key, int]:
        """Return how many rewards of each experiment that is shaped are only expected."""
        with self._lock:
            return {
                trainer.key: trainer.tally.expected
                for trainer in self._trainers()
                if trainer.experiment.reward.shaping is not None
            }

    def skipped(self) -> dict[str, int]:
        """Return how many facts were not learned from, by reason, over all experiments."""
        with self._lock:
            total: Counter[str] = Counter()
            for trainer in self._trainers():
                total.update(trainer.tally.skipped)
            return dict(sorted(total.items()))

    # Loading and placing

    def _load(self, experiments: Iterable[Experiment]) -> None:
        saved = self._store.states()
        for experiment in experiments:
            key = (experiment.tenant_id, experiment.id)
            if experiment.state == "draft":
                continue
            kept = saved.get(key)
            trainer = Trainer(experiment, self._store.shelf(key), kept)
            if kept is None or kept.apart is None:
                self._main.join(trainer)
            else:
                self._set_apart(trainer, kept.apart)
            self._place(trainer)

    def _place(self, trainer: Trainer) -> None:
        """Let a running experiment serve, and hold back any other where it is."""
        key = trainer.key
        if trainer.experiment.state == "running":
            self._publisher.publish(trainer)
            return
        self._publisher.withdraw(key)
        if key in self._main.trainers:
            self._main.leave(key)
            self._set_apart(trainer, (self._main.offset, self._main.event_ms))

    def _set_apart(self, trainer: Trainer, position: tuple[int, int]) -> None:
        course = self._course(*position)
        course.join(trainer)
        self._apart[trainer.key] = course

    def _course(
        self,
        offset: int,
        event_ms: int,
        *,
        admit: Callable[[Key], Trainer | None] | None = None,
    ) -> Course:
        return Course(
            offset,
            event_ms,
            peek=self._fact_at,
            admit=admit,
            expel=self._halt,
            before_rollback=self._keep,
        )

    def _admit(self, key: Key) -> Trainer | None:
        """Return a trainer for an experiment that was started without a word to the learner."""
        if key in self._apart:
            return None
        experiment = self._find(*key)
        if experiment is None or experiment.state != "running":
            self.unknown += experiment is None
            return None
        return Trainer(experiment, self._store.shelf(key))

    def _halt(self, trainer: Trainer, error: Exception) -> None:
        """Hold back an experiment that cannot learn, as the last checkpoint knows it."""
        key = trainer.key
        _logger.error("an experiment cannot learn", extra=_named(key), exc_info=error)
        self._halted[key] = (
            f"learning stopped after offset {trainer.version}: {type(error).__name__}: {error}; its facts "
            "are kept and learned when the experiment is changed or the server restarts"
        )
        saved = self._store.states().get(key)
        position = self._committed if saved is None or saved.apart is None else saved.apart
        self._set_apart(Trainer(trainer.experiment, self._store.shelf(key), saved), position)

    # Learning

    def _learned(self, changed: Iterable[Key]) -> None:
        for key in changed:
            trainer = self._trainer(key)
            if trainer is not None and key not in self._halted:
                self._publisher.changed(trainer)
                self._keep_if_due(trainer)

    def _catch_up(self) -> int:
        """Let each experiment that is behind read one stretch; return the facts read."""
        read = 0
        for key in [key for key in self._apart if self._is_catching_up(key)]:
            course = self._apart[key]
            limit = min(self._pace.batch, self._main.offset - course.offset)
            facts = self._reader.facts(course.offset, limit=limit) if limit else []
            self._learned(course.read(facts))
            read += len(facts)
            self._main.touched.add(key)
            if course.offset == self._main.offset and key not in self._halted:
                del self._apart[key]
                self._main.join(course.leave(key))
        return read

    def _is_catching_up(self, key: Key) -> bool:
        running = self._apart[key].trainers[key].experiment.state == "running"
        return running and key not in self._halted

    def _keep_if_due(self, trainer: Trainer) -> None:
        rows, at_ms = self._marks.setdefault(trainer.key, (0, self._main.event_ms))
        aged = self._main.event_ms - at_ms >= self._pace.snapshot_s * 1000
        if aged or abs(trainer.tally.rows - rows) >= self._pace.snapshot_rows:
            self._keep(trainer)

    def _keep(self, trainer: Trainer) -> Snapshot:
        event_ms = self._main.event_ms
        snapshot = trainer.snapshot(event_ms)
        self._kept.append((trainer.key, snapshot))
        self._marks[trainer.key] = (trainer.tally.rows, event_ms)
        return snapshot

    # Checkpoints

    def _save_if_due(self) -> None:
        now = self._stopwatch()
        is_new = self._main.touched or self._kept or self._main.offset != self._committed[0]
        if not is_new or now < self._checkpoint_at:
            return
        self._try_checkpoint()
        ended = self._stopwatch()
        self._checkpoint_at = ended + max(self._pace.checkpoint_s, 10 * (ended - now))

    def _try_checkpoint(self) -> None:
        try:
            self._checkpoint()
        except Broken as error:
            # The log has everything: go on, and try again or learn again.
            _logger.error("a checkpoint failed", extra={"reason": error.message})

    def _checkpoint(self) -> None:
        main, position = self._main, (self._main.offset, self._main.event_ms)
        trainers = {key: t for key in main.touched if (t := self._trainer(key)) is not None}
        apart = {key: (c.offset, c.event_ms) for key, c in self._apart.items()}
        self._store.save(
            Checkpoint(
                through=position[0],
                event_ms=position[1],
                states={key: t.saved(apart.get(key)) for key, t in trainers.items()},
                remembered={key: t.memory.changes() for key, t in trainers.items()},
                forgotten={
                    key: apart.get(key, position)[1]
                    for key, t in trainers.items()
                    if t.experiment.reward.window_s is not None
                },
                spent={
                    key: (t.spent.day, t.spent.changes())
                    for key, t in trainers.items()
                    if t.spent.changes()
                },
                snapshots=self._kept,
            )
        )
        for trainer in trainers.values():
            trainer.memory.written()
            trainer.spent.written()
        self._kept = []
        main.touched.clear()
        self._committed = position

    def _flush_kept(self) -> None:
        if self._kept:
            self._checkpoint()

    # Windows

    def _tick(self) -> None:
        """Write down that time has passed a window's end, when no other fact says so."""
        due_ms, now_ms = self._main.next_due_ms(), self._now_ms()
        is_on_its_way = self._ticked_ms > self._main.event_ms
        if now_ms <= due_ms or self._main.event_ms > due_ms or is_on_its_way:
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

    # The thread

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
        behind = any(self._is_catching_up(key) for key in list(self._apart))
        if self._publisher.is_waiting or behind:
            return
        if not self._reader.wait(self._main.offset, self._pace.idle_s):
            with self._lock:
                self._tick()

    # Helpers

    def _fact_at(self, offset: int) -> Fact | None:
        found = self._reader.facts(offset - 1, limit=1) if offset else []
        return found[0][1] if found else None

    def _trainers(self) -> Iterator[Trainer]:
        for course in (self._main, *self._apart.values()):
            yield from course.trainers.values()

    def _trainer(self, key: Key) -> Trainer | None:
        course = self._apart.get(key, self._main)
        return course.trainers.get(key)

    def _known(self, tenant_id: str, experiment_id: str) -> Trainer:
        trainer = self._trainer((tenant_id, experiment_id))
        if trainer is None:
            self._draft(tenant_id, experiment_id)
            raise Conflict(
                f"experiment '{experiment_id}' is a draft and has learned nothing; start it",
                found="draft",
            )
        return trainer

    def _draft(self, tenant_id: str, experiment_id: str) -> Experiment:
        experiment = self._find(tenant_id, experiment_id)
        if experiment is None:
            raise NotFound(f"there is no experiment '{experiment_id}'", id=experiment_id)
        return experiment

    def _kept_snapshot(self, key: Key, version: int) -> Snapshot:
        self._flush_kept()
        snapshot = self._store.snapshot(key, version)
        if snapshot is None:
            newest = [kept.version for kept in self._store.snapshots(key)[:5]]
            raise NotFound(
                f"experiment '{key[1]}' keeps no snapshot of version {version}; the newest are {newest}",
                found=version,
                expected=newest,
            )
        return snapshot

    def _append(self, fact: RolledBack) -> int:
        offset = self._writer.append([fact], [None], timeout_s=_WRITE_TIMEOUT_S).first_offset
        if offset is None:
            raise Broken("the log took the rollback for a duplicate")
        return offset


def _named(key: Key) -> dict[str, str]:
    return {"tenant_id": key[0], "experiment_id": key[1]}
