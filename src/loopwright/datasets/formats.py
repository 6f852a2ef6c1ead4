"""A data set's rows in the forms that training tools read. Pure.

TRL: `prompt`, `chosen`, `rejected` as texts or messages; `prompt`, `completion`, `label`; `prompt`, `completion`. OpenAI:
`messages`, and `input`, `preferred_output`, `non_preferred_output` for preferences. `simple` is prompt, chosen, rejected alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from loopwright.core.dataset import DatasetFormat, DatasetKind
from loopwright.core.errors import Invalid

from .examples import Example

COLUMNS: Final[dict[str, str]] = {
    "input": "VARCHAR",
    "prompt": "VARCHAR",
    "chosen": "VARCHAR",
    "rejected": "VARCHAR",
    "margin": "DOUBLE",
    "completion": "VARCHAR",
    "label": "BOOLEAN",
    "reward": "DOUBLE",
    "source": "VARCHAR",
    "task": "VARCHAR",
    "prompt_version": "VARCHAR",
}
"""The columns of a table, with their SQL types."""

FORMATS: Final[dict[DatasetKind, tuple[DatasetFormat, ...]]] = {
    "preference": ("rows", "simple", "trl", "trl_conversational", "openai", "csv", "parquet"),
    "kto": ("rows", "trl", "trl_conversational", "csv", "parquet"),
    "sft": ("rows", "trl", "trl_conversational", "openai", "csv", "parquet"),
    "reward": ("rows", "csv", "parquet"),
}
"""What each kind can be written as."""

_decode = msgspec.json.Decoder(Example).decode


def rows_of(content: bytes) -> Iterator[Example]:
    """Yield the rows of a shard."""
    return (_decode(line) for line in content.splitlines() if line)


def lines_of(kind: DatasetKind, format: DatasetFormat, rows: Iterable[Example]) -> Iterator[bytes]:
    """Yield the lines of a text format, without their ends. Raises `Invalid` for a format that the kind does not have."""
    check(kind, format)
    if format == "csv":
        yield ",".join(COLUMNS).encode()
        for row in rows:
            yield ",".join(_cell(getattr(row, name)) for name in COLUMNS).encode()
        return
    shape = _shape(kind, format)
    for row in rows:
        yield msgspec.json.encode(shape(row), order="deterministic")


def flat(row: Example) -> bytes:
    """Return a row as a JSON object with the columns of a table."""
    return msgspec.json.encode({name: getattr(row, name) for name in COLUMNS})


def check(kind: DatasetKind, format: DatasetFormat) -> None:
    """Raise `Invalid` for a format that the kind does not have."""
    if format not in FORMATS[kind]:
        raise Invalid(
            f"a {kind} set has no format {format!r}; it has {', '.join(FORMATS[kind])}",
            found=format,
        )


def _shape(kind: DatasetKind, format: DatasetFormat) -> Callable[[Example], Any]:
    shapes: dict[tuple[str, str], Callable[[Example], Any]] = {
        ("preference", "simple"): lambda r: {
            "prompt": r.prompt,
            "chosen": r.chosen,
            "rejected": r.rejected,
        },
        ("preference", "trl"): lambda r: {
            "prompt": r.prompt,
            "chosen": r.chosen,
            "rejected": r.rejected,
            "margin": r.margin,
        },
        ("preference", "trl_conversational"): lambda r: {
            "prompt": _user(r),
            "chosen": _assistant(r.chosen),
            "rejected": _assistant(r.rejected),
            "margin": r.margin,
        },
        ("preference", "openai"): lambda r: {
            "input": {"messages": _user(r), "tools": [], "parallel_tool_calls": True},
            "preferred_output": _assistant(r.chosen),
            "non_preferred_output": _assistant(r.rejected),
        },
        ("kto", "trl"): lambda r: {
            "prompt": r.prompt,
            "completion": r.completion,
            "label": r.label,
        },
        ("kto", "trl_conversational"): lambda r: {
            "prompt": _user(r),
            "completion": _assistant(r.completion),
            "label": r.label,
        },
        ("sft", "trl"): lambda r: {"prompt": r.prompt, "completion": r.completion},
        ("sft", "trl_conversational"): lambda r: {
            "messages": [*_user(r), *_assistant(r.completion)]
        },
        ("sft", "openai"): lambda r: {"messages": [*_user(r), *_assistant(r.completion)]},
    }
    return shapes.get((kind, format), lambda row: row)


def _user(row: Example) -> list[dict[str, str]]:
    return [{"role": "user", "content": row.prompt}]


def _assistant(text: str | None) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text or ""}]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    # RFC 4180; and a cell that a spreadsheet would run as a formula is given as text.
    if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not isinstance(value, float):
        text = f"'{text}"
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(c in text for c in ',"\r\n') else text
