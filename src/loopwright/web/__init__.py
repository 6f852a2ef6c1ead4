"""Shared by every `routes.py`: the documented errors, the principal, the tenant and the expected revision."""

from __future__ import annotations

from .asking import EXPECTED, TENANT, Acting, Asking, Expected
from .guard import Guard, needs, principal_of
from .problems import problems

__all__ = [
    "EXPECTED",
    "TENANT",
    "Acting",
    "Asking",
    "Expected",
    "Guard",
    "needs",
    "principal_of",
    "problems",
]
