"""Implicit signals, derived from sessions, and surrogates, which predict late outcomes from early signals."""

from __future__ import annotations

from .sessions import Sessions
from .surrogate import Surrogate

__all__ = ["Sessions", "Surrogate"]
