"""Implicit signals: what sessions of people with answers tell, and what early signals say of late outcomes."""

from __future__ import annotations

from .sessions import Sessions
from .surrogate import Surrogate

__all__ = ["Sessions", "Surrogate"]
