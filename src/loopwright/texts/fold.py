"""Fold a text to ASCII where only the look differs, so that one set of patterns finds every spelling.

Word processors and phones write U+00A0 for a space and an en dash for a hyphen; keyboards of East Asia write full-width
signs and digits. Patterns that listed all of these would be slow and never complete. So a folded copy is scanned, and the
original text is cut at the places of the finds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_SPACES: Final = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
DASHES: Final = "\\-\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
"""Characters that are written for a hyphen, as part of a character class."""
# Joiners, marks of direction, the soft hyphen and the byte order mark: they have no width, so a reader sees none.
_HIDDEN: Final = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
# Full-width forms but for those that end a sentence or a clause (exclamation and question mark, comma, semicolon): a fold would change nothing there.
_WIDE: Final = "\uff02-\uff0b\uff0e-\uff1a\uff1c-\uff1e\uff20-\uff5e\ufe6b\ufe52\ufe55\ufe62"
_MARKS: Final = {"\u2024": ".", "\u2044": "/", "\u2215": "/", "\u2236": ":", "\ufe55": ":"}

_FOLDABLE: Final = re.compile(
    rf"[^\x00-\x7f](?<=[\d{_SPACES}{DASHES}{_HIDDEN}{_WIDE}{''.join(_MARKS)}])"
)
_HIDDEN_ONE: Final = re.compile(f"[{_HIDDEN}]")
# Typographic dashes are hyphens inside a number or a word only. Elsewhere they separate, and must not: a number
# after a hyphen is taken for a part of an id.
_INNER_DASH: Final = re.compile(
    f"(?<=[0-9)])[{DASHES}](?=[0-9(])"
    "|(?<=[0-9A-Za-z])[\u2010\u2011\uff0d\ufe63](?=[0-9A-Za-z])"
    "|(?<=[A-Za-z])[\u2012\u2013\u2212](?=[A-Za-z])"
)


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """Return a copy to scan, and the place in `text` of each of its characters; None when these are equal.

    Every kind of space, full-width form and decimal digit becomes its ASCII character; dashes between digits or
    letters become hyphens; characters without width are left out.
    """
    if text.isascii() or _FOLDABLE.search(text) is None:
        return text, None
    # Without hidden characters every fold is one to one, so the places stay as they are.
    places = None
    copy = text
    if _HIDDEN_ONE.search(text) is not None:
        places = [place for place, one in enumerate(text) if not _is_hidden(one)]
        copy = _HIDDEN_ONE.sub("", text)
    copy = _FOLDABLE.sub(lambda found: _ascii(found[0]), copy)
    return _INNER_DASH.sub("-", copy), places


@lru_cache(maxsize=1024)
def _is_hidden(one: str) -> bool:
    return _HIDDEN_ONE.match(one) is not None


@lru_cache(maxsize=1024)
def _ascii(one: str) -> str:
    """Return the ASCII character that `one` is a form of; itself when there is none."""
    if one.isspace():
        return " "
    digit = unicodedata.decimal(one, None)
    if digit is not None:
        return str(digit)
    plain = _MARKS.get(one) or unicodedata.normalize("NFKC", one)
    # A dash stays: only its neighbours tell whether it is a hyphen.
    return plain if len(plain) == 1 and plain.isascii() and plain != "-" else one
