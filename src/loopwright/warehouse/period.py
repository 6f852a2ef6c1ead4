"""The period of a report, the time zone in which its days begin, and its random generator."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid

MAX_DAYS: Final = 3660
DEFAULT_DAYS: Final = 30
DEFAULT_ZONE: Final = "UTC"
"""Where neither a request nor its tenant names one."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """From `from_ms` up to, and not including, `to_ms`; its days begin at midnight in the time zone `tz`."""

    from_ms: int
    to_ms: int
    tz: str = DEFAULT_ZONE

    @property
    def calendar(self) -> Calendar:
        """The calendar of its time zone."""
        return Calendar(self.tz)

    @property
    def days(self) -> float:
        """Its length in days of the wall clock: a day counts as one, be it of 23 or 25 hours."""
        calendar = self.calendar
        return (calendar.wall_ms(self.to_ms) - calendar.wall_ms(self.from_ms)) / DAY_MS

    @property
    def previous(self) -> Period:
        """The period of the same length by the wall clock just before it, so that whole days follow whole days."""
        calendar = self.calendar
        start = calendar.wall_ms(self.from_ms)
        length = calendar.wall_ms(self.to_ms) - start
        return Period(from_ms=calendar.instant_ms(start - length), to_ms=self.from_ms, tz=self.tz)


class Calendar:
    """The days of one time zone: what the wall clock shows at a moment, and when a day begins.

    A wall clock's time is in milliseconds too, as if it were UTC: at 01:00 in Berlin in winter it is an hour
    more than the moment. Raises `Invalid` for a name that the IANA database does not have.
    """

    def __init__(self, tz: str = DEFAULT_ZONE) -> None:
        self._zone = _zone(tz)

    def local(self, at_ms: int) -> datetime:
        """Return the moment as the wall clock shows it."""
        try:
            # Adding to the epoch, unlike fromtimestamp, works for any year that a date can have.
            return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self._zone)
        except OverflowError:
            raise Invalid(
                f"found the time {at_ms}; expected milliseconds within the years 1 to 9999"
            ) from None

    def wall_ms(self, at_ms: int) -> int:
        """Return what the wall clock shows at a moment."""
        offset = self.local(at_ms).utcoffset() or timedelta()
        return at_ms + offset // timedelta(milliseconds=1)

    def instant_ms(self, wall_ms: int) -> int:
        """Return the moment at which the wall clock shows that time, the first where it shows it twice.

        For a time that the clock skips it is the moment at which it skips, give or take the offset of before.
        """
        # `fold` stays 0, which PEP 495 defines as the first of two equal times, and as the offset before a gap.
        wall = (_EPOCH + timedelta(milliseconds=wall_ms)).replace(tzinfo=self._zone)
        offset = wall.utcoffset() or timedelta()
        return wall_ms - offset // timedelta(milliseconds=1)

    def day(self, at_ms: int) -> int:
        """Return the number of the day that a moment lies in, counted from 1 January 1970."""
        return self.wall_ms(at_ms) // DAY_MS

    def start_ms(self, day: int) -> int:
        """Return the moment at which the day of that number begins."""
        return self.instant_ms(day * DAY_MS)

    def offsets(self, from_ms: int, to_ms: int) -> tuple[tuple[int, int], ...]:
        """Return (from then on, what the wall clock is ahead) for each time the offset changes within the two.

        The first entry holds from `from_ms`. A query counts days with these few numbers instead of asking its
        engine for time zones, which the engines do not share.
        """
        found = [(from_ms, self.wall_ms(from_ms) - from_ms)]
        at_ms = from_ms
        # Offsets last for weeks at least, but for one day in Morocco's Ramadan: steps of a day miss none.
        while at_ms < to_ms:
            ahead = min(at_ms + DAY_MS, to_ms)
            offset = self.wall_ms(ahead) - ahead
            if offset != found[-1][1]:
                found.append((self._change(at_ms, ahead), offset))
            at_ms = ahead
        return tuple(found)

    def _change(self, before: int, after: int) -> int:
        """Return the first moment with the offset of `after`, by halving."""
        offset = self.wall_ms(after) - after
        while after - before > 1:
            middle = (before + after) // 2
            if self.wall_ms(middle) - middle == offset:
                after = middle
            else:
                before = middle
        return after


def period(
    now_ms: int,
    *,
    days: int | None = None,
    since: str | None = None,
    until: str | None = None,
    tz: str | None = None,
) -> Period:
    """Return the period asked for: the last `days`, or from `since` up to `until` (now when not given).

    Both take a date, an ISO 8601 time (in the time zone `tz`, UTC when not given, unless it says otherwise), or
    milliseconds since the epoch. Days are those of the wall clock. Raises `Invalid` for a text that is none of
    these, an unknown time zone, an end that is not after its start, and more than ten years.
    """
    if days is not None and since is not None:
        raise Invalid("found days and since; give one of them")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise Invalid(f"days is {days}; expected 1 to {MAX_DAYS}", found=days)
    zone = tz or DEFAULT_ZONE
    calendar = Calendar(zone)
    to_ms = now_ms if until is None else instant("until", until, tz=zone)
    if since is None:
        start = calendar.wall_ms(to_ms) - (days or DEFAULT_DAYS) * DAY_MS
        return Period(from_ms=calendar.instant_ms(start), to_ms=to_ms, tz=zone)
    asked = Period(from_ms=instant("since", since, tz=zone), to_ms=to_ms, tz=zone)
    if not asked.from_ms < asked.to_ms or asked.days > MAX_DAYS:
        raise Invalid(
            f"the period is {asked.days:g} days long; until must be after since, by at most {MAX_DAYS} days"
        )
    return asked


def instant(name: str, text: str, *, tz: str = DEFAULT_ZONE) -> int:
    """Return the moment that `text` says, in milliseconds since the epoch; a date is its midnight in `tz`."""
    # From 9 digits on: 8 digits are a date without dashes, and more than 14 lie beyond the year 5000.
    if text.isascii() and text.isdigit() and 9 <= len(text) <= 14:
        return int(text)
    try:
        found = (
            datetime.combine(date.fromisoformat(text), time())
            if len(text) == 10
            else datetime.fromisoformat(text)
        )
        aware = found if found.tzinfo else found.replace(tzinfo=_zone(tz))
        # Subtracting aware times converts to UTC, which overflows at either end of what a date can say.
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise Invalid(
            f"{name} is '{text[:40]}'; expected a date as 2026-01-31, an ISO 8601 time, or milliseconds",
            found=text[:40],
        ) from None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise Invalid(
            f"tz is '{name[:40]}'; expected a time zone of the IANA database, as Europe/Berlin or UTC",
            found=name[:40],
        ) from None


def seeded(tenant_id: str, of: Period, purpose: str) -> np.random.Generator:
    """Return the generator of one part of one report, so that the same report gives the same intervals."""
    # Names and not a counter: a section that is left out of one report must not shift the numbers of the next.
    text = f"{tenant_id}\x00{of.from_ms}\x00{of.to_ms}\x00{purpose}"
    return np.random.default_rng(
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    )
