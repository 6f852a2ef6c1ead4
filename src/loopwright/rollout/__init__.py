"""Rollout: what follows from evidence. Versions, gates, rollouts through stages, and triggers.

Gates judge, stages say where a verdict leads, and `Rollouts` moves and gives the experiment its shares. `Triggers`
look at conditions over windows, `Deliveries` carries out what a firing starts.
"""

from __future__ import annotations

from .deliveries import Deliveries
from .firings import Firing, Firings
from .rollouts import Rollouts
from .standing import Triggers
from .triggers import Limits, Seen, Verdict, judge
from .versions import Versions

__all__ = [
    "Deliveries",
    "Firing",
    "Firings",
    "Limits",
    "Rollouts",
    "Seen",
    "Triggers",
    "Verdict",
    "Versions",
    "judge",
]
