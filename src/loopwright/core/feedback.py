"""Feedback: any fact about a decision that is learned after it, as a tagged union of kinds."""

from __future__ import annotations

import msgspec


class Outcome(msgspec.Struct, frozen=True, tag="outcome", array_like=True):
    """Ground truth about a decision: clicked, resolved, compiled, or a reward computed by the product."""

    metric: str
    value: float


Feedback = Outcome
