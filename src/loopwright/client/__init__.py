"""The HTTP client: select arms and send feedback from a product, with retries that never count twice.

One core without IO (`calls`, `exchange`) builds requests, reads answers and decides on retries; `Client` and
`AsyncClient` only carry its steps out.
"""

from __future__ import annotations

from .answers import (
    Arm,
    BatchReceipt,
    ExperimentPage,
    FeedbackItem,
    Receipt,
    Selection,
    TypedReceipt,
)
from .buffer import FeedbackBuffer
from .errors import ApiError, BufferFull, Unreachable
from .shells import AsyncClient, Client

__all__ = [
    "ApiError",
    "Arm",
    "AsyncClient",
    "BatchReceipt",
    "BufferFull",
    "Client",
    "ExperimentPage",
    "FeedbackBuffer",
    "FeedbackItem",
    "Receipt",
    "Selection",
    "TypedReceipt",
    "Unreachable",
]
