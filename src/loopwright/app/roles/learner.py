"""The role that learns: it reads the log, trains, and publishes the snapshots that a door serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from loopwright.app.supervise import WAITS_ITSELF, Task
from loopwright.core.errors import LoopError
from loopwright.core.ports import SnapshotStore
from loopwright.learning import Learner
from loopwright.policies import Snapshots

from .truth import Truth

_logger = logging.getLogger(__name__)

APPLY_S: Final = 5.0
"""How long a change of an experiment waits to be in force before it is answered; the learner is then behind."""


def build_learner(
    truth: Truth,
    *,
    snapshots: Snapshots,
    shed: Callable[[str, str], int],
    outlet: SnapshotStore | None = None,
) -> Learner:
    """Return a learner that has loaded its checkpoint; the log is told of every change it lacks.

    `shed` says how many decision rows of an experiment never reached the log. `outlet` is for doors in other processes; one in
    this process reads `snapshots`.
    """
    learner = Learner(
        truth.reader,
        truth.writer,
        database=truth.state_database,
        snapshots=snapshots,
        outlet=outlet,
        head=truth.log.head,
        shed=shed,
        follow=truth.catalog.follow,
        clock=truth.clock,
    )

    def applied(offset: int) -> None:
        learner.wait_until_read(offset, APPLY_S)

    # Set late: the catalog exists before the learner that its answers wait for.
    truth.applied = applied
    try:
        # Experiments from before control facts have none in the log; each gets one (docs/decisions/0011).
        truth.catalog.adopt(learner.standing())
        # A crash between a change and its fact has left the fact in the outbox.
        truth.catalog.relay()
    except LoopError as error:
        # The start goes on: the keeper's task `outbox` tries again.
        _logger.error(
            "changes wait in the outbox until the event log can be written",
            extra={"reason": error.message},
        )
    return learner


def learner_tasks(learner: Learner) -> Sequence[Task]:
    """Return the background work of this role."""
    return [Task(name="learner", run=learner.turn, pace=WAITS_ITSELF, is_vital=True)]
