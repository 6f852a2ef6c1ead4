"""Serving what a learner in another process publishes: bytes from a store become prepared snapshots."""

from __future__ import annotations

import logging
from typing import Final

from loopwright.core.errors import LoopError
from loopwright.core.ports import SnapshotKey, SnapshotStore
from loopwright.policies import Snapshots, handover

_logger = logging.getLogger(__name__)

WAIT_S: Final = 0.5
"""Longest wait of one turn, and so the longest that its task takes to stop."""


class Follower:
    """Keeps the snapshots of a door at what a store holds.

    Making one publishes everything that is stored, so a door serves before a learner runs or has caught up with the
    log: what it serves first is at most as old as the last snapshot put. From then on no experiment goes back to an
    older snapshot, since the store never does. Raises what the store raises.
    """

    def __init__(self, store: SnapshotStore, snapshots: Snapshots) -> None:
        self._store = store
        self._snapshots = snapshots
        self._place = 0
        self.refused: dict[SnapshotKey, str] = {}
        """Why an experiment serves an older snapshot than the store has, or none."""
        self.turn(0.0)

    def turn(self, timeout_s: float = WAIT_S) -> int:
        """Publish what was put since the last turn, or wait for it; return how many snapshots there were."""
        place, keys = self._store.watch(self._place, timeout_s=timeout_s)
        for key in keys:
            self._take(key)
        # Last: when the store fails in between, the next turn takes the same keys again.
        self._place = place
        return len(keys)

    def _take(self, key: SnapshotKey) -> None:
        found = self._store.get(key)
        if found is None:
            return
        good = self._snapshots.get(*key)
        try:
            published = handover.load(
                found.value,
                offset=found.version,
                previous=None if good is None else good.served,
            )
        # One snapshot that cannot serve must not keep the other experiments from getting theirs.
        except LoopError as error:
            self.refused[key] = (
                f"the snapshot of offset {found.version} cannot serve: {error.message}"
            )
            _logger.error(
                "a published snapshot cannot serve",
                extra={"tenant_id": key[0], "experiment_id": key[1], "reason": error.message},
            )
            return
        self.refused.pop(key, None)
        if published is None:
            self._snapshots.withdraw(*key)
        else:
            self._snapshots.publish(published)
