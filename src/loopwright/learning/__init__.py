"""Learning: reads the log, trains each experiment's policy, publishes what serves, guards it and rolls it back.

State is a projection of the log: it carries its own offset and can be had again by `replay`, bit for bit.
"""

from __future__ import annotations

from loopwright.core.status import ArmStatus, SnapshotInfo, Status

from .loop import Learner, Pace
from .replay import replay

__all__ = ["ArmStatus", "Learner", "Pace", "SnapshotInfo", "Status", "replay"]
