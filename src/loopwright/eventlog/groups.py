"""Submissions on their way into the log, and what makes their facts impossible to store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from loopwright.core import upcast
from loopwright.core.errors import Invalid, LoopError
from loopwright.core.events import Fact
from loopwright.core.ports import Committed

UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""Errors of facts that cannot be encoded."""

Done = Callable[[Committed | LoopError], None]
"""Called once per submission, on the writer's thread."""


# `gc=False`: a submission is part of no cycle, and the collector would walk a full queue of them again and
# again.
class Submission(msgspec.Struct, frozen=True, gc=False):
    """Facts that wait for one commit, each with its key or None, and the moment since which they wait."""

    facts: Sequence[Fact]
    keys: Sequence[bytes | None]
    done: Done
    at_ms: int


def flaw_of(facts: Sequence[Fact]) -> Invalid | None:
    """Return the error that refuses `facts` when they cannot be encoded; None when they can."""
    try:
        upcast.encode(facts)
    except UNENCODABLE as error:
        return Invalid(f"the fact cannot be stored: {error}; send JSON-like values only")
    return None
