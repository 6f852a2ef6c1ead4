"""Rollout: what follows from evidence. Versions, gates, rollouts through stages, and the trigger of retraining.

Gates judge, stages say where a verdict leads, and `Rollouts` moves and gives the experiment its shares.
"""

from __future__ import annotations

from .firings import Firing, Firings
from .rollouts import Rollouts
from .triggers import Limits, Seen, Verdict, judge
from .versions import Versions

__all__ = ["Firing", "Firings", "Limits", "Rollouts", "Seen", "Verdict", "Versions", "judge"]
