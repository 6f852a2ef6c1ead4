"""Rollout: actions that follow from reports. So far the trigger that asks for a retraining, and its log of firings."""

from __future__ import annotations

from .firings import Firing, Firings
from .triggers import Limits, Seen, Verdict, judge

__all__ = ["Firing", "Firings", "Limits", "Seen", "Verdict", "judge"]
