"""How the members of a JSON object are read, with errors that name the member and what it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.errors import Invalid

from .draft import ID_CHARS, MAX_ENTRIES, TEXT_CHARS


class Members:
    """The members of one JSON object, removed one by one; `left` holds those that have no field of ours."""

    def __init__(self, item: Mapping[str, Any], *, where: str = "") -> None:
        self.left = dict(item)
        self._where = where

    def text(self, name: str, *, limit: int = ID_CHARS) -> str | None:
        """Remove and return a string; None when it is absent or null. Raises `Invalid` when it is anything else."""
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
        """Remove and return a free text."""
        return self.text(name, limit=TEXT_CHARS)

    def number(self, name: str) -> float | None:
        """Remove and return a finite number."""
        value = self.left.pop(name, None)
        if value is None:
            return None
        # To Python True is the number 1; a sender of `true` has not sent a number.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        return finite(value, f"{self._where}{name}")

    def object(self, name: str) -> dict[str, Any]:
        """Remove and return an object; an empty one when it is absent."""
        value = self.left.pop(name, None)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return value

    def strings(self, name: str) -> tuple[str, ...] | None:
        """Remove and return a list of strings; None when it is absent."""
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
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str() | int() | float():
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:60]}…"
    # Only embedded use can send one.
    return f"a Python {type(value).__name__}"


def finite(value: float, name: str) -> float:
    """Return `value` as a float; raises `Invalid` when no finite float can hold it."""
    try:
        # JSON has whole numbers of any length; float() raises for one beyond 10^308 and does not return
        # infinity.
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Invalid(f"{name} is {shown(value)}; it must be a finite number")
    return number


def stars(value: Any, name: str = "rating") -> float:
    """Return a rating of 1 to 5 whole stars; raises `Invalid` for anything else."""
    # By equality, so that 4.0 counts; `true` is equal to 1 and must not be a star.
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
