"""What is known when a decision is made.

A context's vector travels as packed little-endian float64, so the numbers that train are bit for bit the
numbers that scored.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from .errors import ContextInvalid

BOUND: Final = float(2**20)
"""Largest magnitude of a vector component: beyond it, sums of products stop being exact (see `policies.exact`)."""

# A linear policy keeps a matrix of dimension * dimension for each arm: 8 MiB of float64 at this limit.
MAX_DIMENSION: Final = 1024


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Features of one request: an optional id, a numeric vector, free metadata."""

    id: str | None = None
    vector: Sequence[float] | None = None
    metadata: dict[str, Any] | None = None


EMPTY: Final = Context()

# One compiled packer per dimension: `struct.pack` would build and look up its format for every vector.
_PACKERS: Final[dict[int, Callable[..., bytes]]] = {}


def pack(vector: Sequence[float], *, dimension: int) -> bytes:
    """Return `vector` as little-endian float64 after checking it.

    Raises `ContextInvalid` when the length is not `dimension` or a component is not finite or beyond ±2²⁰.
    """
    if len(vector) != dimension:
        raise ContextInvalid(
            f"context.vector has {len(vector)} components; this experiment expects {dimension}",
            found=len(vector),
            expected=dimension,
        )
    # max and min may step over a NaN, but a NaN anywhere makes the sum NaN.
    if not (max(vector) <= BOUND and min(vector) >= -BOUND and math.isfinite(sum(vector))):
        # Negated, the comparison also finds NaN, which is neither above nor below any bound.
        at, worst = next((i, v) for i, v in enumerate(vector) if not -BOUND <= v <= BOUND)
        raise ContextInvalid(
            f"context.vector[{at}] is {worst}; components must be finite and within ±{BOUND:.0f}: "
            "scale the feature",
            index=at,
        )
    packer = _PACKERS.get(dimension)
    if packer is None:
        packer = _PACKERS[dimension] = struct.Struct(f"<{dimension}d").pack
    return packer(*vector)


def unpack(packed: bytes) -> tuple[float, ...]:
    """Return the vector that `pack` packed."""
    return struct.unpack(f"<{len(packed) // 8}d", packed)
