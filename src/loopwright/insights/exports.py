"""Writing facts out: JSON lines for programs, CSV for spreadsheets, page by page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from loopwright.warehouse import TABLES

ExportFormat = Literal["json", "jsonl", "csv"]
ExportScope = Literal["share", "analyze"]

EVER_MS: Final = 2**53
"""Later than any time that an event can have."""

EXPORTED: Final = tuple(name for name in TABLES["feedback"].names if not name.endswith("_key"))
"""The columns of an export: all but the digests that only joins need."""

_DECODED: Final = frozenset(
    ("labels", "tags", "flags", "redactions", "wire", "metadata", "vector", "retrieval_ids", "data")
)
# Tab, CR and LF too: spreadsheets drop them and read the next character as the first.
_FORMULA: Final = re.compile(r" *[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")


def exported(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row that are exported."""
    return {name: row[name] for name in EXPORTED}


def json_lines(rows: Sequence[Mapping[str, Any]], *, is_first: bool = False) -> bytes:
    """Return rows as JSON, one per line, without their nulls; columns that hold JSON become objects."""
    plain = [
        {
            # The column holds JSON already. Decoding it would cost time, and change numbers that a float cannot
            # hold.
            name: msgspec.Raw(value.encode()) if name in _DECODED else value
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]
    return msgspec.json.Encoder().encode_lines(plain)


def json_list(pages: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Yield one JSON list of everything in `pages`, page by page."""
    yield b"["
    is_first = True
    for page in pages:
        if page:
            # Without the brackets of the page's own list.
            yield (b"" if is_first else b",") + msgspec.json.encode(page)[1:-1]
            is_first = False
    yield b"]"


def csv_lines(
    rows: Sequence[Mapping[str, Any]],
    *,
    is_first: bool = False,
    columns: Sequence[str] = EXPORTED,
) -> bytes:
    """Return rows as CSV (RFC 4180), the header before the first page; a NULL is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    if is_first:
        writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def inert(value: Any) -> Any:
    """Return a cell that no spreadsheet runs: a text that begins as a formula does, behind an apostrophe.

    Reference: OWASP, "CSV Injection". Spreadsheets in Japanese take the full-width signs as well, and some
    skip leading spaces.
    """
    # A negative number is no formula, and behind an apostrophe it would be a text that cannot be summed.
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value
