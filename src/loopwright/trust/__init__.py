"""Trust: what each fact counts in a report and why, the bursts held back, and what lets them count."""

from __future__ import annotations

from .clearances import Clearance, Clearances, Clearing, NewClearance
from .summary import Burst, TrustSummary, TrustTally
from .view import LEFT_OUT, Trust
from .weights import Reason, TrustPolicy

__all__ = [
    "LEFT_OUT",
    "Burst",
    "Clearance",
    "Clearances",
    "Clearing",
    "NewClearance",
    "Reason",
    "Trust",
    "TrustPolicy",
    "TrustSummary",
    "TrustTally",
]
