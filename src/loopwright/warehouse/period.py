"""Which stretch of time a report is about, and the randomness that belongs to it."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time
from typing import Final

import msgspec
import numpy as np

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid

MAX_DAYS: Final = 3660
DEFAULT_DAYS: Final = 30


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """From `from_ms` up to, and not including, `to_ms`; UTC."""

    from_ms: int
    to_ms: int

    @property
    def days(self) -> float:
        """Its length in days."""
        return (self.to_ms - self.from_ms) / DAY_MS

    @property
    def previous(self) -> Period:
        """The period of the same length just before it."""
        return Period(from_ms=2 * self.from_ms - self.to_ms, to_ms=self.from_ms)


def period(
    now_ms: int,
    *,
    days: int | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Period:
    """Return the period asked for: the last `days`, or from `since` up to `until` (now when not given).

    Both take a date, an ISO 8601 time (UTC unless it says otherwise), or milliseconds since the epoch. Raises
    `Invalid` for a text that is none of these, an end that is not after its start, and more than ten years.
    """
    if days is not None and since is not None:
        raise Invalid("found days and since; give one of them")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise Invalid(f"days is {days}; expected 1 to {MAX_DAYS}", found=days)
    to_ms = now_ms if until is None else instant("until", until)
    if since is None:
        return Period(from_ms=to_ms - (days or DEFAULT_DAYS) * DAY_MS, to_ms=to_ms)
    asked = Period(from_ms=instant("since", since), to_ms=to_ms)
    if not 0 < asked.days <= MAX_DAYS:
        raise Invalid(
            f"the period is {asked.days:g} days long; until must be after since, by at most {MAX_DAYS} days"
        )
    return asked


def instant(name: str, text: str) -> int:
    """Return the moment that `text` says, in milliseconds since the epoch."""
    if text.isascii() and text.isdigit() and 9 <= len(text) <= 14:
        return int(text)
    try:
        found = (
            datetime.combine(date.fromisoformat(text), time())
            if len(text) == 10
            else datetime.fromisoformat(text)
        )
    except ValueError:
        raise Invalid(
            f"{name} is '{text[:40]}'; expected a date as 2026-01-31, an ISO 8601 time, or milliseconds",
            found=text[:40],
        ) from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def seeded(tenant_id: str, of: Period, purpose: str) -> np.random.Generator:
    """Return the generator of one part of one report, so that the same report gives the same intervals."""
    text = f"{tenant_id}\x00{of.from_ms}\x00{of.to_ms}\x00{purpose}"
    return np.random.default_rng(
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    )
