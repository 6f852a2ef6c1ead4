"""One group of submissions on its way into the log: its facts and keys, and the outcome of each submission."""

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


def assemble(
    submissions: Sequence[Submission], taken: set[bytes]
) -> tuple[list[Fact], list[bytes], list[list[bool]]]:
    """Return the facts to store, their keys, and for each submission which facts are duplicates."""
    facts: list[Fact] = []
    # A dict keeps the order of arrival. That of a set of bytes changes with each process, and equal runs would
    # write unequal batches.
    seen: dict[bytes, None] = {}
    duplicates: list[list[bool]] = []
    for submission in submissions:
        flags: list[bool] = []
        for fact, key in zip(submission.facts, submission.keys, strict=True):
            is_duplicate = key is not None and (key in seen or key in taken)
            flags.append(is_duplicate)
            if not is_duplicate:
                facts.append(fact)
                if key is not None:
                    seen[key] = None
        duplicates.append(flags)
    return facts, list(seen), duplicates


def outcomes_of(duplicates: list[list[bool]], first: int) -> list[Committed]:
    """Return the outcome of each submission when the group's first stored fact has the offset `first`."""
    outcomes = []
    for flags in duplicates:
        stored = flags.count(False)
        outcomes.append(Committed(first if stored else None, flags))
        first += stored
    return outcomes


def flaw_of(facts: Sequence[Fact]) -> Invalid | None:
    """Return the error that refuses `facts` when they cannot be encoded; None when they can."""
    try:
        upcast.encode(facts)
    except UNENCODABLE as error:
        return Invalid(f"the fact cannot be stored: {error}; send JSON-like values only")
    return None
