"""Output of the commands: tables for people, JSON for programs, one sentence for an error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from loopwright.core.errors import (
    Broken,
    Forbidden,
    LoopError,
    Overloaded,
    Unauthenticated,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FAILED: Final = 1
WRONG_USE: Final = 2
WRONG_SETUP: Final = 3
NOT_REACHED: Final = 4

PIPE_WIDTH: Final = 160
_BARS: Final = "▁▂▃▄▅▆▇█"


def exit_code(error: LoopError) -> int:
    """Return the exit code that an error stands for."""
    # By their codes: importing the client for its classes would load an HTTP library with every command.
    if error.code in ("unreachable", "api_error") or isinstance(error, Overloaded):
        return NOT_REACHED
    if isinstance(error, Broken | Unauthenticated | Forbidden):
        return WRONG_SETUP
    return WRONG_USE


def say_error(message: str, *, code: str, as_json: bool, **detail: Any) -> None:
    """Write one sentence, or one JSON object, to stderr."""
    if as_json:
        line = to_json({"code": code, "detail": message, **detail})
    else:
        line = f"error: {message}"
    sys.stderr.write(line + "\n")


def to_json(value: Any) -> str:
    """Return `value` as one line of JSON."""
    import msgspec

    return msgspec.json.encode(value, enc_hook=str).decode()


def put_json(value: Any) -> None:
    """Write `value` to stdout as one line of JSON."""
    sys.stdout.write(to_json(value) + "\n")


def say(line: str = "") -> None:
    """Write a line to stdout as it is."""
    sys.stdout.write(line + "\n")


def console() -> Console:
    """Return a console on stdout that prints text literally; wide when stdout is no terminal."""
    from rich.console import Console

    # rich takes 80 columns where it finds no terminal, and would fold rows that are read by line.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, highlight=False, emoji=False, width=width)


def table(*columns: str, title: str | None = None, left: int = 1) -> Table:
    """Return an empty table: the first `left` columns are text, the others numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for position, column in enumerate(columns):
        if position < left:
            made.add_column(column, overflow="fold")
        else:
            made.add_column(column, justify="right", no_wrap=True)
    return made


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` for a table; a dash when there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share for a table; a dash when there is none."""
    return "-" if value is None else f"{value:.1%}"


def sparkline(values: list[float], *, low: float = 0.0, high: float | None = None) -> str:
    """Return `values` as a row of bars between `low` and `high` (their maximum when not given)."""
    top = max(values, default=0.0) if high is None else high
    span = top - low or 1.0
    steps = len(_BARS) - 1
    return "".join(_BARS[round(min(max((v - low) / span, 0.0), 1.0) * steps)] for v in values)


def bar(share: float, width: int = 24) -> str:
    """Return `share` in [0, 1] as a horizontal bar of `width` characters."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    return "█" * filled + "·" * (width - filled)
