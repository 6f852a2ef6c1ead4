"""What can be read of the learner while it learns: status, snapshots, states and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import RLock

from loopwright.core.errors import Conflict, NotFound
from loopwright.core.status import SnapshotInfo, Status

from .checkpoints import Checkpoints
from .group import Key
from .places import Places
from .publisher import Publisher
from .report import drafted, info_of, inspected, reported
from .trainer import Trainer


class Views:
    """Reads the experiments' states under the learner's lock."""

    def __init__(
        self,
        lock: RLock,
        places: Places,
        publisher: Publisher,
        checkpoints: Checkpoints,
        *,
        head: Callable[[], int],
        shed: Callable[[str, str], int],
    ) -> None:
        self._lock = lock
        self._places = places
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._head = head
        self._shed = shed

    def status(self, tenant_id: str, experiment_id: str) -> Status:
        """Return how an experiment is doing; raises `NotFound`."""
        key = (tenant_id, experiment_id)
        with self._lock:
            control = self._places.controls.get(key)
            trainer = self._places.trainer(key)
            if trainer is None:
                if control is None:
                    raise _unknown(experiment_id)
                return drafted(control.experiment, head=self._head())
            return reported(
                trainer,
                head=self._head(),
                shed=self._shed(tenant_id, experiment_id),
                serving=self._publisher.serving(key),
                is_apart=key in self._places.apart,
                # What halted it goes first: once it learns no more, an earlier refusal explains nothing.
                degraded=self._places.halted.get(key) or self._publisher.refused.get(key, ""),
            )

    def snapshots(self, tenant_id: str, experiment_id: str) -> list[SnapshotInfo]:
        """Return the kept snapshots of an experiment, newest first; raises `NotFound`."""
        with self._lock:
            trainer = self.known(tenant_id, experiment_id)
            serving = self._publisher.serving(trainer.key)
            # Within the lock: snapshots that wait are written first, which is a checkpoint.
            return [info_of(kept, serving) for kept in self._checkpoints.snapshots(trainer.key)]

    def snapshot(self, tenant_id: str, experiment_id: str, *, version: int) -> SnapshotInfo:
        """Return one kept snapshot with its arms as it sees them; raises `NotFound`."""
        with self._lock:
            trainer = self.known(tenant_id, experiment_id)
            kept = self._checkpoints.snapshot(trainer.key, version)
            return inspected(kept, trainer, serving=self._publisher.serving(trainer.key))

    def dump(self, tenant_id: str, experiment_id: str) -> bytes:
        """Return an experiment's state and counts as bytes, to compare with those of a replay."""
        with self._lock:
            trainer = self.known(tenant_id, experiment_id)
            return trainer.dump() + trainer.tally.dump()

    def positions(self) -> dict[Key, int]:
        """Return the offset that each experiment has read through."""
        with self._lock:
            return self._places.positions()

    def degraded(self) -> dict[Key, str]:
        """Return the experiments that do not serve what the log says, each with the reason."""
        with self._lock:
            return {**self._publisher.refused, **self._places.halted}

    def expected(self) -> dict[Key, int]:
        """Return how many rewards of each experiment that is shaped are only expected."""
        with self._lock:
            return {
                trainer.key: trainer.tally.expected
                for trainer in self._places.trainers()
                if trainer.experiment.reward.shaping is not None
            }

    def skipped(self) -> dict[str, int]:
        """Return how many facts were not learned from, by reason, over all experiments."""
        with self._lock:
            total: Counter[str] = Counter()
            for trainer in self._places.trainers():
                total.update(trainer.tally.skipped)
            return dict(sorted(total.items()))

    def known(self, tenant_id: str, experiment_id: str) -> Trainer:
        """Return the trainer of an experiment that has run; raises `NotFound`, or `Conflict` for a draft."""
        key = (tenant_id, experiment_id)
        trainer = self._places.trainer(key)
        if trainer is not None:
            return trainer
        if key not in self._places.controls:
            raise _unknown(experiment_id)
        state = self._places.controls[key].experiment.state
        raise Conflict(
            f"experiment '{experiment_id}' never ran and has learned nothing (it is {state}); start it",
            found=state,
        )


def _unknown(experiment_id: str) -> NotFound:
    return NotFound(f"there is no experiment '{experiment_id}'", id=experiment_id)
