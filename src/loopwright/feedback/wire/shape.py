"""A wire shape: how items of one shape are recognised, read, and written again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.events import Fact, Reported
from loopwright.feedback.draft import Draft, Verify

INNER: Final = "inner"
"""Shape of a fact that came inside another item of feedback: that item's first fact is written for all of them."""

MIXED: Final = frozenset({"feedback", "correction"})
"""Paths that take several shapes, recognised by their members."""

Read = Callable[[dict[str, Any], int, Verify], Draft]
"""Reads an item that arrived at a time (ms); raises `Invalid`, or a token error."""

ReadJson = Callable[[msgspec.Raw, int, Verify], Draft]
"""Reads undecoded JSON; raises `msgspec.ValidationError` when the item is not of this shape."""

Write = Callable[[Sequence[Fact]], dict[str, Any]]
"""Returns the item that became these facts: one, or an interaction followed by the feedback inside it."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One wire shape: a row of the registry."""

    name: str
    """Kept in `Note.shape`, so that a stored fact can be written as it was sent."""
    tells: Callable[[Mapping[str, Any]], bool]
    """Whether an item is of this shape; asked on paths that take several."""
    told_by: str = ""
    """The members that tell it, in words for an error; empty for a shape that errors need not mention."""
    paths: frozenset[str]
    """Where items of this shape are expected. A path with a single shape reads every item as that shape."""
    read: Read
    read_json: ReadJson | None = None
    """A faster `read`, tried first; `read` then explains what is wrong with an item that it does not take."""
    write: Write
    fact: type[Fact] = Reported
    """The class of the first fact that an item becomes."""
    id_member: str = "event_id"


def report_of(facts: Sequence[Fact]) -> Reported:
    """Return the first fact of an item of feedback, which says all that the item did."""
    fact = facts[0]
    assert isinstance(fact, Reported)
    return fact
