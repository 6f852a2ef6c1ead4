"""Types of members that several wire shapes share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from loopwright.core.errors import Invalid
from loopwright.core.problem import fault_of
from loopwright.feedback.draft import ID_CHARS, MAX_ENTRIES, TEXT_CHARS

Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=TEXT_CHARS)]
Labels = Annotated[
    dict[Name, Annotated[str, Meta(max_length=ID_CHARS)]], Meta(max_length=MAX_ENTRIES)
]
Words = Annotated[tuple[Name, ...], Meta(max_length=MAX_ENTRIES)]

REFERENCES = ("decision_id", "trace_id", "span_id", "session_id", "message_id", "output_id")
"""Members that say what feedback is about, in the order of `Target`."""


SPELLINGS = (("original", "corrected"), ("original_sql", "corrected_sql"))
"""Members that hold the text before and after; the first pair that an item has anything of counts."""


def convert(item: Any, shape: Any) -> Any:
    """Return `item` as `shape`; raises `Invalid` with the place of the fault."""
    try:
        return msgspec.convert(item, shape)
    except msgspec.ValidationError as error:
        raise Invalid(f"the item does not fit: {fault_of(error)}") from None
    except OverflowError as error:
        raise Invalid(f"the item does not fit: {error}") from None
