"""The SQL that the slices write, as PostgreSQL reads it.

The slices write one text for both engines, with SQLite's words: `?` marks a parameter, and a table is declared with
`TEXT`, `INTEGER` or `BIGINT`, `REAL` or `DOUBLE PRECISION`, `BLOB` or `BYTEA`. The words for types are translated
here, and not by rule in the slices, because one of them has to change in any case: `TEXT` compares by the bytes of
UTF-8 in SQLite and by the language of the database in PostgreSQL, so a cursor (`id > ? ORDER BY id`) would skip rows
in the one that it shows in the other. Only upper-case words count, as the slices write keywords so and columns not.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_TYPES: Final = {
    "BLOB": "BYTEA",
    "INTEGER": "BIGINT",  # SQLite's INTEGER has 64 bits, PostgreSQL's 32: too few for milliseconds
    "REAL": "DOUBLE PRECISION",
    "TEXT": 'TEXT COLLATE "C"',
}
# Quoted text and comments match first and whole, so a question mark inside them is no parameter.
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\w+|\?|%""", re.DOTALL
)
_DECLARES: Final = re.compile(r"\s*(?:CREATE|ALTER)\s+TABLE\b")


@lru_cache(maxsize=1024)
def for_postgres(sql: str) -> bytes:
    """Return a statement with `%s` for each `?`, `%%` for each `%`, and in a declaration PostgreSQL's types.

    What stands in quotes or in a comment keeps its question marks.
    """
    types = _TYPES if _DECLARES.match(sql) else {}

    def translated(token: re.Match[str]) -> str:
        found = token[0]
        if found == "?":
            return "%s"
        # The driver looks for % in quotes too.
        return types.get(found) or found.replace("%", "%%")

    return _TOKEN.sub(translated, sql).encode()


def storable(text: str) -> str:
    """Return `text` without the character NUL, which PostgreSQL refuses and ids of callers may hold.

    NUL becomes U+0001 U+0001, and U+0001 becomes U+0001 U+0002: every text has its own, and their order stays.
    """
    # Both are escaped, in this order: otherwise a text that holds the escape itself would come back changed.
    if "\0" in text or "\1" in text:
        return text.replace("\1", "\1\2").replace("\0", "\1\1")
    return text


def original(stored: str) -> str:
    """Return the text that `storable` made `stored` of."""
    return _PAIR.sub(lambda pair: _ORIGINALS[pair[0]], stored) if "\1" in stored else stored


_ORIGINALS: Final = {"\1\1": "\0", "\1\2": "\1"}
_PAIR: Final = re.compile("\1[\1\2]")
