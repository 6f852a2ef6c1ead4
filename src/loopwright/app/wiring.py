"""The composition root: it puts the roles together, and takes them down in the reverse order."""

from __future__ import annotations

import random
from contextlib import ExitStack

from msgspec import UNSET

from loopwright.backends.files import DirectoryLock
from loopwright.core.clock import Clock, SystemClock
from loopwright.core.ids import Ids
from loopwright.core.ports import SnapshotStore
from loopwright.policies import Snapshots

from .health import Health
from .private import keep_private
from .roles import Door, Eraser, Keeper, Reacting, Reports, Truth, build_learner, learner_tasks
from .settings import Settings
from .supervise import Supervisor


class Services:
    """All roles of one loop over one data directory, in this process.

    `outlet` gets what is published as bytes, for doors in other processes: see `roles.following_tasks`.
    Raises `DirectoryLocked` when another process holds the directory, `LogCorrupt` when its log is damaged.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        outlet: SnapshotStore | None = None,
    ) -> None:
        clock = clock or SystemClock()
        rng = rng or random.SystemRandom()
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        # One stack for the whole life: the reports open the warehouse late, and it must be closed with the rest.
        self._opened = ExitStack()
        self._is_closed = False
        try:
            self._build(self._opened, clock, rng, outlet)
        except BaseException:
            self._opened.close()
            raise

    def _build(
        self, opened: ExitStack, clock: Clock, rng: random.Random, outlet: SnapshotStore | None
    ) -> None:
        settings = self.settings
        # First, so that it is released last.
        opened.callback(DirectoryLock(settings.data_dir).release)
        ids = Ids(clock, random.Random(rng.getrandbits(256)))
        snapshots = Snapshots()
        self.truth = Truth(settings, opened, clock=clock, ids=ids)
        self.door = Door(
            self.truth,
            settings,
            opened,
            snapshots=snapshots,
            rng=random.Random(rng.getrandbits(256)),
        )
        self.learner = build_learner(
            self.truth,
            snapshots=snapshots,
            shed=lambda tenant_id, id: self.door.selector.shed.get((tenant_id, id), 0),
            outlet=outlet,
        )
        self.keeper = Keeper(
            self.truth, settings, opened, stopping=lambda: self.supervisor.is_stopping
        )
        self.reports = Reports(self.truth, opened, loader=self.keeper.loader)
        self.reacting = Reacting(
            self.truth,
            settings,
            warehouse=lambda: self.reports.warehouse,
            stopping=lambda: self.supervisor.is_stopping,
        )
        self.eraser = Eraser(self.truth, door=self.door, keeper=self.keeper, reports=self.reports)
        self.supervisor = Supervisor(
            [
                *learner_tasks(self.learner),
                *self.keeper.tasks(),
                self.eraser.task(),
                self.reports.task(),
                *self.reacting.tasks(),
                self.door.task(),
            ],
            clock=clock,
        )
        keep_private(settings.data_dir)

    def start(self) -> None:
        """Begin the background work: learning from where the checkpoint left off, and upkeep."""
        self.supervisor.start()

    def close(self) -> None:
        """Store what waits, checkpoint, and let the data directory go; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self.supervisor.stop()
        # Before the checkpoint: derived facts that a task has just handed over are stored, not refused.
        self.truth.writer.flush()
        self.learner.stop()
        self._opened.close()

    def health(self) -> Health:
        """Return whether selects and feedback can be served, and what fails."""
        failing = tuple(self.supervisor.failing())
        named = failing or UNSET
        if self.supervisor.is_stopping:
            return Health(status="unready", reason="shutting down", failing=named)
        # Asked directly as well: a commit that failed is known before the next look of the task that watches.
        if (failure := self.truth.writer.failure) is not None:
            reason = f"the event log cannot be written: {failure.message}"
            return Health(status="unready", reason=reason, failing=named)
        reason = "; ".join(task.sentence for task in failing)
        if any(task.is_vital for task in failing):
            return Health(status="unready", reason=reason, failing=named)
        return Health(status="degraded" if failing else "ready", reason=reason, failing=named)
