"""Feedback intake: verify the token, check the value, give the fact its identity."""

from __future__ import annotations

from .service import BATCH_LIMIT, BatchRequest, FeedbackRequest, Intake

__all__ = ["BATCH_LIMIT", "BatchRequest", "FeedbackRequest", "Intake"]
