"""Serving: choose an arm from memory, issue the token, never wait on a disk."""

from __future__ import annotations

from .service import ArmView, Selection, Selector, SelectRequest

__all__ = ["ArmView", "SelectRequest", "Selection", "Selector"]
