"""What the learner remembers across restarts: states with their offsets, and kept snapshots.

State and offset are written in one transaction. The state in memory runs ahead of it by a fraction of a second, and
that is safe: after a crash the same facts are read again into the older state, with the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from loopwright.core.errors import Broken, NotFound

from .group import Key
from .places import Places, saved_states
from .store import Checkpoint, Snapshot, Store
from .trainer import Trainer

_logger = logging.getLogger(__name__)

_REST: Final = 10
"""Least time between checkpoints, in units of the time that the last one took: at most a tenth goes into them."""


class Kept:
    """Snapshots that were taken since the last checkpoint, and when the next is due."""

    def __init__(self, *, after_s: float, after_rows: int) -> None:
        self.waiting: list[tuple[Key, Snapshot]] = []
        self._after_ms = after_s * 1000
        self._after_rows = after_rows
        self._marks: dict[Key, tuple[int, int]] = {}

    def keep_if_due(self, trainer: Trainer, event_ms: int) -> None:
        """Keep a changed state when enough time or rewards have passed since the last."""
        rows, at_ms = self._marks.setdefault(trainer.key, (0, event_ms))
        is_aged = event_ms - at_ms >= self._after_ms
        # The absolute difference, because a rollback takes rewards away.
        if is_aged or abs(trainer.tally.rows - rows) >= self._after_rows:
            self.keep(trainer, event_ms)

    def keep(self, trainer: Trainer, event_ms: int) -> Snapshot:
        """Keep a state."""
        snapshot = trainer.snapshot(event_ms)
        self.waiting.append((trainer.key, snapshot))
        self._marks[trainer.key] = (trainer.tally.rows, event_ms)
        return snapshot


class Checkpoints:
    """Writes what has changed, no more often than every `every_s` seconds."""

    def __init__(
        self,
        store: Store,
        places: Places,
        kept: Kept,
        *,
        every_s: float,
        stopwatch: Callable[[], float],
    ) -> None:
        self._store = store
        self._places = places
        self._kept = kept
        self._every_s = every_s
        self._stopwatch = stopwatch
        self._due_at = 0.0

    def save_if_due(self) -> None:
        """Write a checkpoint when there is something new and it is time."""
        places = self._places
        now = self._stopwatch()
        is_new = (
            places.main.touched
            or places.news
            or self._kept.waiting
            or places.main.offset != places.committed[0]
        )
        if not is_new or now < self._due_at:
            return
        self.try_to_save()
        ended = self._stopwatch()
        self._due_at = ended + max(self._every_s, _REST * (ended - now))

    def try_to_save(self) -> None:
        """Write a checkpoint; a failure is logged, since the log has everything."""
        try:
            self.save()
        except Broken as error:
            _logger.error("a checkpoint failed", extra={"reason": error.message})

    def save(self) -> None:
        """Write a checkpoint; raises `Broken` when an engine refuses, or refused in the middle of a stretch."""
        # States hold a part of the stretch that was being read, so there is no offset that describes them.
        if self._places.is_half_read:
            raise Broken("the learner has to go back to its last checkpoint first; try again")
        places, main = self._places, self._places.main
        position = (main.offset, main.event_ms)
        trainers = {key: t for key in main.touched if (t := places.trainer(key)) is not None}
        states, apart = saved_states(places, trainers)
        self._store.save(
            Checkpoint(
                through=position[0],
                event_ms=position[1],
                states={**{key: saved for key, (saved, _) in places.dormant.items()}, **states},
                controls={key: places.controls[key] for key in places.news},
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
                snapshots=self._kept.waiting,
            )
        )
        # Only once it is committed: after a refusal, memory alone still has these changes.
        self._written(trainers.values())
        places.committed = position

    def snapshots(self, key: Key) -> list[Snapshot]:
        """Return the kept snapshots of an experiment, newest first, without their states."""
        self._flush()
        return self._store.snapshots(key)

    def snapshot(self, key: Key, version: int) -> Snapshot:
        """Return one kept snapshot with its state; raises `NotFound`."""
        self._flush()
        snapshot = self._store.snapshot(key, version)
        if snapshot is None:
            newest = [kept.version for kept in self._store.snapshots(key)[:5]]
            raise NotFound(
                f"experiment '{key[1]}' keeps no snapshot of version {version}; the newest are {newest}",
                found=version,
                expected=newest,
            )
        return snapshot

    def _flush(self) -> None:
        if self._kept.waiting:
            self.save()

    def _written(self, trainers: Iterable[Trainer]) -> None:
        for trainer in trainers:
            trainer.memory.written()
            trainer.spent.written()
        self._kept.waiting = []
        self._places.main.touched.clear()
        self._places.news.clear()
