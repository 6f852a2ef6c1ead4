"""What every `routes.py` needs: how errors are described, who asks, and which revision they have read."""

from __future__ import annotations

from .asking import EXPECTED, TENANT, Acting, Asking, Expected
from .problems import problems

__all__ = ["EXPECTED", "TENANT", "Acting", "Asking", "Expected", "problems"]
