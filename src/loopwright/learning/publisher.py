"""Handing what was learned to serving: prepare, check, swap one reference.

Preparing costs more than learning for some policies, so it is followed by a rest as long as itself, in which
more facts gather: at most half of the time goes into it. What was put off is published after the rest, whether
more has come or not, so what serving sees last is always the newest.

A door in this process gets the prepared object. Doors in other processes get bytes, through a `SnapshotStore`, and
prepare them again; whatever is put there was prepared and checked here first.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Final

from loopwright.core.errors import LoopError
from loopwright.core.experiment import Experiment
from loopwright.core.ports import SnapshotStore, Versioned
from loopwright.policies import Problem, Published, Snapshots, handover

from .group import Key
from .guard import guarded
from .trainer import Trainer

_logger = logging.getLogger(__name__)

_PROBE: Final = struct.pack("<d", 1.0)


class Publisher:
    """Publishes trainers' states, each experiment's newest only; to `outlet` as well, when other processes serve."""

    def __init__(
        self,
        snapshots: Snapshots,
        stopwatch: Callable[[], float],
        outlet: SnapshotStore | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._outlet = outlet
        self._outgoing: dict[Key, Versioned] = {}
        self._is_cut_off = False
        self._stopwatch = stopwatch
        self._waiting: dict[Key, Trainer] = {}
        self._rest_until = 0.0
        self.published = 0
        """Snapshots published."""
        self.refused: dict[Key, str] = {}
        """Why an experiment serves an older state than it has learned."""
        self.refusals = 0
        """States that the guard refused."""

    def changed(self, trainer: Trainer) -> None:
        """Take note that there is something new to publish."""
        self._waiting[trainer.key] = trainer

    @property
    def is_waiting(self) -> bool:
        """Whether something is still to be published."""
        return bool(self._waiting)

    @property
    def rest_s(self) -> float:
        """Seconds to leave to other work before preparing again; 0 when it is time."""
        return max(self._rest_until - self._stopwatch(), 0.0)

    def publish_waiting(self) -> None:
        """Publish what has changed."""
        if not self._waiting and not self._outgoing:
            return
        started = self._stopwatch()
        # Taken out first: one that is refused waits for its next change, and is not prepared again in every
        # round.
        waiting, self._waiting = self._waiting, {}
        for trainer in waiting.values():
            self.publish(trainer)
        self._hand_over()
        ended = self._stopwatch()
        self._rest_until = ended + (ended - started)

    def publish(self, trainer: Trainer) -> bool:
        """Publish the state of `trainer` now; False when the guard refuses it and the last good one stays."""
        self._waiting.pop(trainer.key, None)
        experiment = trainer.current
        good = self._snapshots.get(*trainer.key)
        if good is not None and good.offset > trainer.version and good.experiment == experiment:
            # The learner went back to its checkpoint and reads again what the served state has seen.
            return True
        previous = None if good is None else good.served
        try:
            served = guarded(
                experiment, lambda: trainer.prepare(previous), probe=_probe(experiment)
            )
        except LoopError as error:
            self._refuse(trainer, error)
            return False
        self._snapshots.publish(Published(experiment, served, trainer.version))
        self.published += 1
        if self._outlet is not None:
            self._outgoing[trainer.key] = _handed(trainer)
        if self.refused.pop(trainer.key, None) is not None:
            _logger.info("experiment serves its newest state again", extra=_named(trainer))
        return True

    def withdraw(self, trainer: Trainer) -> None:
        """Stop serving an experiment that does not run."""
        key = trainer.key
        if self._outlet is not None:
            self._outgoing[key] = _withdrawn(trainer)
        self._snapshots.withdraw(*key)
        self._waiting.pop(key, None)
        self.refused.pop(key, None)

    def serving(self, key: Key) -> int | None:
        """Return the version that is served; None when the experiment is not served."""
        published = self._snapshots.get(*key)
        return None if published is None else published.offset

    def _hand_over(self) -> None:
        """Put what has changed where doors in other processes find it; what fails is put at the next call."""
        if self._outlet is None:
            return
        try:
            for key in list(self._outgoing):
                # False, when it is newer than this, needs no answer: a learner that starts again begins with its
                # checkpoint, and doors go on with what it had published since.
                self._outlet.put(key, self._outgoing[key])
                del self._outgoing[key]
        # An exception would stop learning, which needs no outlet, and the door of this process.
        except LoopError as error:
            if not self._is_cut_off:
                _logger.error(
                    "snapshots do not reach other processes", extra={"reason": error.message}
                )
            self._is_cut_off = True
        else:
            self._is_cut_off = False

    def _refuse(self, trainer: Trainer, error: LoopError) -> None:
        good = self._snapshots.get(*trainer.key)
        serving = "nothing is served" if good is None else f"version {good.offset} keeps serving"
        self.refusals += 1
        # Logged once and not at every batch: a state is refused again and again until its policy is mended.
        if trainer.key not in self.refused:
            _logger.error(
                "a learned state was refused", extra={**_named(trainer), "reason": error.message}
            )
        self.refused[trainer.key] = (
            f"the state learned through offset {trainer.version} was refused: {error.message}; {serving}"
        )


def _handed(trainer: Trainer) -> Versioned:
    """Return what `trainer.prepare` would serve, as bytes for a door in another process."""
    experiment = trainer.current
    state = trainer.policy.grow(Problem.of(experiment), trainer.estimated())
    body = handover.dump(experiment, trainer.policy, state)
    return Versioned(experiment.revision, trainer.version, body)


def _withdrawn(trainer: Trainer) -> Versioned:
    """Return bytes that tell a door in another process to stop serving the experiment."""
    experiment = trainer.current
    return Versioned(experiment.revision, trainer.version, handover.withdrawal(experiment))


def _probe(experiment: Experiment) -> bytes | None:
    return None if experiment.context is None else _PROBE * experiment.context.dimension


def _named(trainer: Trainer) -> dict[str, str]:
    return {"tenant_id": trainer.key[0], "experiment_id": trainer.key[1]}
