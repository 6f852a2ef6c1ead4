"""Feedback intake: verify, understand, redact and classify what a product sends, and give each fact its identity."""

from __future__ import annotations

from loopwright.people.people import People
from loopwright.people.raw import RawCopies

from .pipeline import Pipeline, TypedIntake
from .quarantine import Quarantine
from .routing import Router
from .service import BATCH_LIMIT, BatchRequest, FeedbackRequest, Intake
from .shapes import restore

__all__ = [
    "BATCH_LIMIT",
    "BatchRequest",
    "FeedbackRequest",
    "Intake",
    "People",
    "Pipeline",
    "Quarantine",
    "RawCopies",
    "Router",
    "TypedIntake",
    "restore",
]
