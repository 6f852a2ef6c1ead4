"""Data sets of an embedded loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.client import arguments
from loopwright.client.arguments import text
from loopwright.core.dataset import (
    Dataset,
    DatasetCheck,
    DatasetDiff,
    DatasetPage,
    Recipe,
)
from loopwright.datasets.routes import format_of

from .arguments import Part, checked

_ACTOR: Final = "embedded"


class _Page(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=1000)]


class Datasets(Part):
    """Build data sets, check and export them."""

    def build(self, recipe: Recipe | Mapping[str, Any]) -> Dataset:
        """Build a data set by a recipe from what the log has now. The same log gives the same data set."""
        given = checked(Recipe, **arguments.changes("recipe", recipe))
        self._services.truth.writer.flush()
        return self._services.reports.datasets.build(self._tenant_id, given, actor=_ACTOR)

    def get(self, id: str) -> Dataset:
        """Return the manifest of a data set, by its id or the beginning of it."""
        return self._services.reports.datasets.get(self._tenant_id, text("id", id))

    def list(self, *, name: str | None = None, limit: int = 100) -> DatasetPage:
        """Return manifests, newest first; those of one recipe's name, or all."""
        asked = checked(_Page, limit=limit)
        return self._services.reports.datasets.list(self._tenant_id, name=name, limit=asked.limit)

    def export(self, id: str, *, format: str = "rows", split: str | None = None) -> bytes:
        """Return the rows: as `rows`, `simple`, `trl`, `trl_conversational`, `openai`, `csv` or `parquet`."""
        wanted, datasets = format_of(text("format", format)), self._services.reports.datasets
        if wanted == "parquet":
            return datasets.parquet(self._tenant_id, text("id", id), split=split)
        lines = datasets.lines(self._tenant_id, text("id", id), format=wanted, split=split)
        return b"".join(line + b"\n" for line in lines)

    def verify(self, id: str) -> DatasetCheck:
        """Build a data set again from the same stretch of the log, and say whether each byte is the same."""
        return self._services.reports.datasets.verify(self._tenant_id, text("id", id))

    def diff(self, first: str, second: str) -> DatasetDiff:
        """Return what changed from one data set to another."""
        return self._services.reports.datasets.diff(
            self._tenant_id, text("first", first), text("second", second)
        )

    def expire(self, id: str) -> Dataset:
        """Delete the rows of a data set; its manifest stays, and says when."""
        return self._services.reports.datasets.expire(self._tenant_id, text("id", id), actor=_ACTOR)
