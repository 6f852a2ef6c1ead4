"""One token bucket as a value: what it holds, what a request may take, how long to wait."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.limit import Admission, Mode

SECOND_NS: Final = 1_000_000_000
MOST: Final = 1e9
"""Largest rate, burst and cost; above it a float no longer tells single tokens apart well."""
SLACK: Final = 1e-9
"""Share of a cost that may be missing, so that a wait of exactly `retry_after_s` is long enough despite rounding."""


class Rate(msgspec.Struct, frozen=True):
    """How fast a bucket refills (tokens per second), how many tokens it holds, and which version said so."""

    per_s: float
    burst: float
    version: int = 0

    def __post_init__(self) -> None:
        for name, value in (("rate", self.per_s), ("burst", self.burst)):
            if not 0 < value <= MOST:
                raise Invalid(f"the {name} is {value}; give a number above 0, at most {MOST:.0e}")
        if self.version < 0:
            raise Invalid(f"the version of a rate is {self.version}; versions start at 0")


def check_cost(cost: float) -> None:
    """Raise `Invalid` unless `cost` is a number of tokens above 0."""
    if not 0 < cost <= MOST:
        raise Invalid(f"the cost is {cost}; give a number of tokens above 0, at most {MOST:.0e}")


def refilled(tokens: float, elapsed_ns: int, rate: Rate) -> float:
    """Return what a bucket of `tokens` holds after `elapsed_ns`; a clock that went back adds nothing."""
    if elapsed_ns > 0:
        tokens += elapsed_ns * rate.per_s / SECOND_NS
    return min(tokens, rate.burst)


def fits(tokens: float, cost: float) -> bool:
    """Say whether `cost` may be taken from `tokens`."""
    return tokens >= cost - SLACK * cost


def admission(tokens: float, cost: float, rate: Rate, *, fitted: bool, mode: Mode) -> Admission:
    """Return the answer for a bucket that holds `tokens` after the decision."""
    missing = rate.burst - tokens
    wait: float | None = 0.0
    if not fitted:
        # Rounded up to the nanosecond, the step of the clock: a shorter wait would be denied again.
        wait_ns = math.ceil((cost - tokens) / rate.per_s * SECOND_NS)
        wait = max(wait_ns, 1) / SECOND_NS if cost <= rate.burst else None
    return Admission(
        fitted or mode != "enforce",
        tokens if tokens > 0 else 0.0,
        wait,
        missing / rate.per_s,
        rate.per_s,
        rate.version,
        fitted,
        mode,
    )
