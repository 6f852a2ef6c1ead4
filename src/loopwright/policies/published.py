"""Snapshots, which learning publishes and serving reads: the only memory that the two share."""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.core.experiment import Experiment

from .base import Served


# Experiment and policy in one object: read apart, an arm could be looked up in the list of another revision.
@dataclass(frozen=True, slots=True)
class Published:
    """An experiment and the policy that serves it, as one unit."""

    experiment: Experiment
    served: Served
    offset: int
    """Offset of the event log through which `served` has learned: the snapshot's version."""


class Snapshots:
    """The newest published snapshot of every experiment.

    Publishing swaps one reference and reading is one dictionary look-up, both atomic, so readers never wait
    and never see half a snapshot.
    """

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: dict[tuple[str, str], Published] = {}
        """By tenant and experiment; to be read, not written. The hot path reads it without a call between."""

    def publish(self, published: Published) -> None:
        """Serve `published` for its experiment from now on."""
        experiment = published.experiment
        self.newest[experiment.tenant_id, experiment.id] = published

    def get(self, tenant_id: str, experiment_id: str) -> Published | None:
        """Return the newest snapshot of an experiment, None when it has none."""
        return self.newest.get((tenant_id, experiment_id))

    def withdraw(self, tenant_id: str, experiment_id: str) -> None:
        """Stop serving an experiment; nothing happens when it is not served."""
        self.newest.pop((tenant_id, experiment_id), None)

    def all(self) -> list[Published]:
        """Return the newest snapshot of every experiment."""
        # A copy, as another thread may publish during the iteration.
        return list(self.newest.values())
