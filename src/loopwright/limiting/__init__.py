"""Limiting: token buckets, exact budgets, and the controller that moves a refill rate within bounds.

The guard owns the rate and follows declared overload. Ratings trim it by a tenth at most, whatever they say. Buckets
get the rate with each call, so that a new rate loses no state.
"""

from __future__ import annotations

from loopwright.core.limit import Admission

from .bucket import Rate
from .budget import Budget, Budgets
from .controller import Control, Settings, Window
from .limiter import Ask, Limiter
from .memory import MemoryBuckets
from .middleware import AdaptiveLimitMiddleware

__all__ = [
    "AdaptiveLimitMiddleware",
    "Admission",
    "Ask",
    "Budget",
    "Budgets",
    "Control",
    "Limiter",
    "MemoryBuckets",
    "Rate",
    "Settings",
    "Window",
]
