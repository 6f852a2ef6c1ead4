"""Trust: the weight of each fact in a report with its reasons, the bursts held back, and the clearances of them."""

from __future__ import annotations

from .clearances import Clearance, Clearances, Clearing, NewClearance
from .figures import LEFT_OUT
from .policy import TrustPolicy
from .summary import Burst, TrustSummary, TrustTally
from .view import Trust
from .weights import Reason

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
