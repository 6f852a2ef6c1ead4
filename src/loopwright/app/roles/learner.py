"""The role that learns: it reads the log, trains, and publishes the snapshots that a door serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loopwright.app.supervise import WAITS_ITSELF, Task
from loopwright.learning import Learner
from loopwright.policies import Snapshots

from .truth import Truth


def build_learner(
    truth: Truth, *, snapshots: Snapshots, shed: Callable[[str, str], int]
) -> Learner:
    """Return a learner that has loaded its checkpoint and follows the catalog.

    `shed` says how many decision rows of an experiment never reached the log.
    """
    learner = Learner(
        truth.reader,
        truth.writer,
        database=truth.state_database,
        snapshots=snapshots,
        experiments=truth.experiments,
        head=truth.log.head,
        shed=shed,
        find=truth.find,
        clock=truth.clock,
    )
    truth.catalog.subscribe(learner.refresh)
    return learner


def learner_tasks(learner: Learner) -> Sequence[Task]:
    """Return the background work of this role."""
    return [Task(name="learner", run=learner.turn, pace=WAITS_ITSELF, is_vital=True)]
