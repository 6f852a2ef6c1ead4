"""What the log says of an experiment's life: from where it learns, and how far.

A pause is an offset in the log. What an experiment has learned depends on the facts through the offset it has read,
never on when it was paused; a pause only says where it stops reading for now, its goal. So a learner that crashed
anywhere, and a replay, come to the same state by the same facts.
"""

from __future__ import annotations

import msgspec

from loopwright.core.events import ExperimentChanged
from loopwright.core.experiment import Experiment


class Control(msgspec.Struct, frozen=True, array_like=True):
    """An experiment by its newest control fact."""

    experiment: Experiment
    born: int | None = None
    """Offset from which it learns: of the fact that started it, 0 when it was adopted. None for one that never ran."""
    goal: int | None = None
    """Offset through which it reads, of one that is paused or has ended; None for one that reads on."""


def controlled(known: Control | None, fact: ExperimentChanged, offset: int) -> Control:
    """Return what is known of an experiment once `fact`, at `offset`, has been read."""
    experiment = fact.experiment
    born = None if known is None else known.born
    if born is None and experiment.state != "draft":
        if fact.adopted:
            born = 0
        elif experiment.state == "running":
            born = offset
    if born is None or experiment.state == "running":
        return Control(experiment, born)
    if known is None or known.born is None:
        return Control(experiment, born, offset if fact.stands_at is None else fact.stands_at)
    # One that stands already stays where it is; one that was catching up goes on to this fact.
    return Control(experiment, born, offset if known.goal is None else known.goal)
