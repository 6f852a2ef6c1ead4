"""The facts of one experiment in one stretch of the log, as the joiner takes them."""

from __future__ import annotations

from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Expected, Received
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Who
from loopwright.core.reward import RewardSpec

Key = tuple[str, str]
"""Tenant id and experiment id."""

Traced = tuple[int, int, Decided | Received | Expected, Who | None]
"""Offset of a fact, event time with it, the fact, and its sender for an experiment with caps."""


class Group:
    """The facts of one experiment in one stretch of the log.

    `traced` keeps them in order for an experiment that needs a memory or has caps; for any other, decisions and
    feedback are apart, which is much cheaper.
    """

    __slots__ = ("capped", "decided", "received", "traced")

    def __init__(self, *, traced: bool, capped: bool = False) -> None:
        self.capped = capped
        self.decided: list[Decision] = []
        self.received: list[Received] = []
        self.traced: list[Traced] | None = [] if traced else None

    @classmethod
    def of(cls, experiment: Experiment) -> Group:
        """Return an empty group for the facts of `experiment`."""
        capped = experiment.caps is not None
        return cls(traced=capped or needs_memory(experiment.reward), capped=capped)


def needs_memory(spec: RewardSpec) -> bool:
    """Whether what a decision taught may still change."""
    return spec.window_s is not None or spec.duplicates != "first"
