"""What a wire shape said, before intake gives it an identity; and how the members of a body are read.

A draft still names the person and the address as the sender did. Intake replaces both before anything is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from loopwright.core.decision import Decision
from loopwright.core.errors import Invalid
from loopwright.core.feedback import Feedback, Note, Target
from loopwright.core.interaction import Interaction, Step

TEXT_CHARS: Final = 65_536
"""Longest free text that is taken."""

WIRE_BYTES: Final = 65_536
"""Most that the members without a place of their own may take up, encoded."""

ID_CHARS: Final = 512
MAX_ENTRIES: Final = 64

FREE_TEXT: Final = frozenset(
    {
        "answer",
        "comment",
        "corrected",
        "description",
        "error_message",
        "explanation",
        "generated_copy",
        "generated_sql",
        "message",
        "notes",
        "original",
        "prompt",
        "query",
        "rationale",
        "reason",
        "response",
        "sql",
        "stack_trace",
        "text",
    }
)
"""Members of a free-form object that are declared to be free text, wherever they stand in it."""


class Also(msgspec.Struct, frozen=True, gc=False):
    """One more fact that came inside an interaction."""

    feedback: Feedback
    wire: dict[str, Any]


class Draft(msgspec.Struct, kw_only=True, gc=False):
    """One item of a body, understood but not yet a fact. The stages of intake change it in place."""

    event_id: str | None = None
    user_id: str | None = None
    reviewer_id: str | None = None
    """Who judged, where that is somebody other than `user_id`."""
    address: str | None = None
    is_dated: bool = False
    """Whether the sender said when it happened; otherwise the time is that of arrival."""
    target: Target = Target()
    feedback: Feedback | None = None
    note: Note
    interaction: Interaction | None = None
    step: Step | None = None
    also: tuple[Also, ...] = ()
    is_free: bool = False
    """Whether the sender's own free-form members are in it: they have to be checked and redacted."""


Verify = Callable[[str], Decision]
"""Returns the decision in a token; raises a token error."""


def decided(verify: Verify, token: str | None) -> Decision | None:
    """Return the decision that feedback came with, if any."""
    return None if token is None else verify(token)


class Members:
    """The members of one JSON object, taken out one by one; what is left has no place of its own."""

    def __init__(self, item: Mapping[str, Any], *, where: str = "") -> None:
        self.left = dict(item)
        self._where = where

    def text(self, name: str, *, limit: int = ID_CHARS) -> str | None:
        """Take out a string; None when it is absent or null. Raises `Invalid` when it is anything else."""
        value = self.left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        if len(value) > limit:
            raise Invalid(
                f"{self._where}{name} has {len(value)} characters; at most {limit} are taken: shorten it",
                found=len(value),
                limit=limit,
            )
        return value

    def free(self, name: str) -> str | None:
        """Take out a free text."""
        return self.text(name, limit=TEXT_CHARS)

    def number(self, name: str) -> float | None:
        """Take out a finite number."""
        value = self.left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        return finite(value, f"{self._where}{name}")

    def object(self, name: str) -> dict[str, Any]:
        """Take out an object; an empty one when it is absent."""
        value = self.left.pop(name, None)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return value

    def strings(self, name: str) -> tuple[str, ...] | None:
        """Take out a list of strings; None when it is absent."""
        value = self.left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(name, value, "a list of strings")
        if len(value) > MAX_ENTRIES:
            raise Invalid(f"{self._where}{name} has {len(value)} entries; at most {MAX_ENTRIES}")
        return tuple(value)

    def _wrong(self, name: str, value: Any, expected: str) -> Invalid:
        return Invalid(
            f"{self._where}{name} is {shown(value)}; send {expected}",
            found=shown(value),
            expected=expected,
        )


def shown(value: Any) -> str:
    """Return a value as it looks in an error sentence: short, and text in quotes."""
    spelt = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return spelt if len(spelt) <= 60 else f"{spelt[:60]}…"


def finite(value: float, name: str) -> float:
    """Return `value` as a float; raises `Invalid` when no finite float can hold it."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Invalid(f"{name} is {shown(value)}; it must be a finite number")
    return number


def stars(value: Any, name: str = "rating") -> float:
    """Return a rating of 1 to 5 whole stars; raises `Invalid` for anything else."""
    if isinstance(value, bool) or value not in (1, 2, 3, 4, 5):
        raise Invalid(
            f"{name} is {shown(value)}; send a whole number from 1 to 5",
            found=shown(value),
            expected=[1, 2, 3, 4, 5],
        )
    return float(value)


def thumbs(value: Any, name: str = "thumbs") -> float:
    """Return 1 for up and 0 for down; raises `Invalid` for anything else."""
    if not isinstance(value, str) or value not in _THUMBS:
        raise Invalid(
            f"{name} is {shown(value)}; send 'up' or 'down'",
            found=shown(value),
            expected=["up", "down"],
        )
    return _THUMBS[value]


def thumb_word(value: float) -> str:
    """Return `up` or `down`."""
    return "up" if value else "down"


_THUMBS: Final = {"up": 1.0, "down": 0.0}


def moment(value: Any, name: str) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """Return a time in milliseconds, what is needed to spell it again as it was sent, and flags.

    Takes ISO 8601 or whole milliseconds since the epoch; a time without a zone is taken as UTC and flagged.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= _LAST_MS:
            raise Invalid(f"{name} is {value}; send milliseconds since 1970, or ISO 8601")
        return value, {"at": value}, ()
    if not isinstance(value, str):
        raise Invalid(f"{name} is {shown(value)}; send ISO 8601, such as 2026-11-20T09:30:00.000Z")
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise Invalid(
            f"{name} is {shown(value)}; send ISO 8601, such as 2026-11-20T09:30:00.000Z"
        ) from None
    flags: tuple[str, ...] = ()
    if read.tzinfo is None:
        read, flags = read.replace(tzinfo=UTC), ("timestamp_without_zone",)
    ms = (read - _EPOCH) // _MILLISECOND
    if not 0 <= ms <= _LAST_MS:
        raise Invalid(f"{name} is {shown(value)}; send a time between 1970 and 9999")
    return ms, {} if spell(ms) == value else {"at": value}, flags


def spell(at_ms: int) -> str:
    """Return a time as ISO 8601 with milliseconds, in UTC."""
    return (_EPOCH + at_ms * _MILLISECOND).isoformat(timespec="milliseconds")[:-6] + "Z"


def spelt_again(note: Note) -> Any:
    """Return the time of a note as its sender spelt it; None when the sender gave none."""
    if note.wire.get("undated"):
        return None
    return note.wire.get("at", spell(note.occurred_at_ms))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST_MS: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND
