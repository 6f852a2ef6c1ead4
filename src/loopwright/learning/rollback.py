"""Keeping a snapshot when it is asked for, and going back to one, through the log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from loopwright.core.clock import Clock
from loopwright.core.errors import Broken, Conflict
from loopwright.core.events import RolledBack
from loopwright.core.status import SnapshotInfo
from loopwright.eventlog import Writer

from .checkpoints import Checkpoints
from .store import Snapshot
from .trainer import Trainer, read_state
from .views import Views

_WRITE_TIMEOUT_S: Final = 30.0


class Rollbacks:
    """Keeps snapshots, and writes the facts that put an experiment back to one."""

    def __init__(
        self,
        lock: threading.RLock,
        views: Views,
        checkpoints: Checkpoints,
        *,
        keep: Callable[[Trainer], Snapshot],
        writer: Writer,
        clock: Clock,
    ) -> None:
        self._lock = lock
        self._views = views
        self._checkpoints = checkpoints
        self._keep = keep
        self._writer = writer
        self._now_ms = clock.now_ms

    def take_snapshot(self, tenant_id: str, experiment_id: str) -> SnapshotInfo:
        """Keep the present state of an experiment as a snapshot; raises `NotFound`."""
        with self._lock:
            snapshot = self._keep(self._views.known(tenant_id, experiment_id))
            self._checkpoints.save()
        return self._views.snapshot(tenant_id, experiment_id, version=snapshot.version)

    def roll_back(self, tenant_id: str, experiment_id: str, *, version: int, actor: str) -> int:
        """Put an experiment back to a kept snapshot; return the offset of the fact that does it.

        Raises `NotFound` for a version that is not kept, `Conflict` when the experiment has ended.
        """
        with self._lock:
            trainer = self._views.known(tenant_id, experiment_id)
            if trainer.current.state == "ended":
                raise Conflict(
                    f"experiment '{experiment_id}' has ended and learns no more, so it cannot be rolled back"
                )
            snapshot = self._checkpoints.snapshot(trainer.key, version)
            # Raises now for a state that does not fit: in the log it would stop the experiment at every
            # replay.
            read_state(snapshot.state, trainer.current)
        # The fact carries the whole state: a replay needs no snapshots.
        return self._append(
            RolledBack(self._now_ms(), tenant_id, experiment_id, version, snapshot.state, actor)
        )

    def _append(self, fact: RolledBack) -> int:
        # Without the lock, since a slow disk must not keep the learner waiting; without a key, since every
        # rollback counts.
        offset = self._writer.append([fact], [None], timeout_s=_WRITE_TIMEOUT_S).first_offset
        if offset is None:
            raise Broken("the log took the rollback for a duplicate")
        return offset
