"""Trust: what each fact counts in a report and why, the bursts held back, and what lets them count."""

from __future__ import annotations

from .releases import NewRelease, Release, Releases, Releasing
from .summary import Burst, TrustSummary, TrustTally
from .view import LEFT_OUT, Trust
from .weights import Reason, TrustPolicy

__all__ = [
    "LEFT_OUT",
    "Burst",
    "NewRelease",
    "Reason",
    "Release",
    "Releases",
    "Releasing",
    "Trust",
    "TrustPolicy",
    "TrustSummary",
    "TrustTally",
]
