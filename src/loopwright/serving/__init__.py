"""Serving: choose an arm from memory, issue the token, never wait on a disk."""

from __future__ import annotations

from .follower import Follower
from .service import ArmView, Selection, Selector, SelectRequest

__all__ = ["ArmView", "Follower", "SelectRequest", "Selection", "Selector"]
