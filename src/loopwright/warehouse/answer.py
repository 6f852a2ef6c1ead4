"""What a question to the warehouse returns."""

from __future__ import annotations

from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """The rows of a query, and the log offset through which they hold."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    offset: int
    """Log offset through which the answer is true."""

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]
