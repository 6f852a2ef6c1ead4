"""Feedback intake: read, verify, redact and classify what a product sends, and give each fact its identity."""

from __future__ import annotations

from .intake import TypedIntake
from .pipeline import Pipeline
from .prepared import Prepared
from .quarantine import Quarantine
from .results import NOTHING_STORED, Results, TypedAccepted, TypedBatch, TypedResult, stored_id
from .rewards import BATCH_LIMIT, BatchRequest, FeedbackRequest, Intake
from .sent import AsSent
from .wire import restore

__all__ = [
    "BATCH_LIMIT",
    "NOTHING_STORED",
    "AsSent",
    "BatchRequest",
    "FeedbackRequest",
    "Intake",
    "Pipeline",
    "Prepared",
    "Quarantine",
    "Results",
    "TypedAccepted",
    "TypedBatch",
    "TypedIntake",
    "TypedResult",
    "restore",
    "stored_id",
]
