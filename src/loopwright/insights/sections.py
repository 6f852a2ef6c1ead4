"""The sections of a report, and how a section that fails is left out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar, get_args

import msgspec

from loopwright.core.errors import Broken, Invalid, LoopError

T = TypeVar("T")

Section = Literal["metrics", "breakdown", "versions", "failures", "corrected", "joins", "drift"]
SECTIONS: Final[tuple[Section, ...]] = get_args(Section)

_SPOILED: Final = (
    LoopError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""Errors that an unforeseen fact can raise in a section. A public key is enough to send facts."""

_LONGEST_REASON: Final = 200


def sections(asked: Sequence[str] | None) -> tuple[Section, ...]:
    """Return the sections of these names, all for None. Raises `Invalid` for a name that is none."""
    if asked is None:
        return SECTIONS
    known: dict[str, Section] = {section: section for section in SECTIONS}
    if unknown := [name for name in asked if name not in known]:
        raise Invalid(
            f"there is no section '{unknown[0][:40]}'; a report has {', '.join(SECTIONS)}",
            found=unknown[0][:40],
            expected=list(SECTIONS),
        )
    return tuple(known[name] for name in dict.fromkeys(asked))


class Attempts:
    """Makes the parts of a report one by one; a part that fails leaves its sections out, and no other."""

    def __init__(self, wanted: Sequence[Section] = SECTIONS) -> None:
        self._wanted = frozenset(wanted)
        self.failed: dict[Section, str] = {}
        """Why each section that failed is left out."""

    def wants(self, *sections: Section) -> bool:
        """Return whether one of `sections` is asked for and has not failed yet."""
        return any(name in self._wanted and name not in self.failed for name in sections)

    def make(self, sections: Sequence[Section], part: Callable[[], T]) -> T | None:
        """Return the part that these sections need; None when none of them is wanted, or when it cannot be made.

        Raises `Broken` errors, such as a corrupt file or a full disk: no fact causes them.
        """
        if not self.wants(*sections):
            return None
        try:
            return part()
        # Before the next clause, which would catch it as a `LoopError` and hide a damaged warehouse behind a
        # note.
        except Broken:
            raise
        except _SPOILED as error:
            said = error.message if isinstance(error, LoopError) else str(error)
            for name in sections:
                if name in self._wanted:
                    # The first reason stays: later parts of the section fail because of it.
                    self.failed.setdefault(name, said[:_LONGEST_REASON] or type(error).__name__)
            return None
