"""Times on the wire: ISO 8601, or milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.feedback import Note

from .members import Members, shown


def read_time(value: Any, name: str) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """Return a time in milliseconds, what `time_as_sent` needs to return it as it was sent, and flags.

    Takes ISO 8601 or whole milliseconds since the epoch; a time without a zone is taken as UTC and flagged, and so
    is an integer that is probably in seconds.
    """
    flags: tuple[str, ...] = ()
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= _LAST_MS:
            raise Invalid(f"{name} is {value}; send milliseconds since 1970, or ISO 8601")
        if value < _SECONDS_BELOW:
            flags = ("timestamp_in_seconds",)
        return value, {"at": value}, flags
    if not isinstance(value, str):
        raise Invalid(f"{name} is {shown(value)}; send ISO 8601, such as 2026-11-20T09:30:00.000Z")
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise Invalid(
            f"{name} is {shown(value)}; send ISO 8601, such as 2026-11-20T09:30:00.000Z"
        ) from None
    if read.tzinfo is None:
        read, flags = read.replace(tzinfo=UTC), ("timestamp_without_zone",)
    ms = (read - _EPOCH) // _MILLISECOND
    if not 0 <= ms <= _LAST_MS:
        raise Invalid(f"{name} is {shown(value)}; send a time between 1970 and 9999")
    return ms, {} if iso_time(ms) == value else {"at": value}, flags


def read_timestamp(
    members: Members, received_ms: int
) -> tuple[int, dict[str, Any], tuple[str, ...], bool]:
    """Remove `timestamp` and return it like `read_time`, and whether it was there; without it, the time of arrival."""
    given = members.left.pop("timestamp", None)
    if given is None:
        return received_ms, {"undated": True}, (), False
    return *read_time(given, "timestamp"), True


def iso_time(at_ms: int) -> str:
    """Return a time as ISO 8601 with milliseconds, in UTC."""
    return (_EPOCH + at_ms * _MILLISECOND).isoformat(timespec="milliseconds")[:-6] + "Z"


def time_as_sent(note: Note) -> Any:
    """Return the time of a note as it was sent; None when it was not sent."""
    if note.wire.get("undated"):
        return None
    return note.wire.get("at", iso_time(note.occurred_at_ms))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECONDS_BELOW: Final = 100_000_000_000
"""A smaller integer is probably in seconds: as milliseconds it lies before March 1973, as seconds until the year 5138."""
_LAST_MS: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND
