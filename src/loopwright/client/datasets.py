"""The calls of data sets. See `calls` for how a call becomes a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from loopwright.core.dataset import (
    Dataset,
    DatasetCheck,
    DatasetDiff,
    DatasetPage,
    Recipe,
)

from . import arguments
from .exchange import Call, Terms
from .requests import change, get, segment

_read_dataset = msgspec.json.Decoder(Dataset).decode


def build_dataset(terms: Terms, recipe: Recipe | Mapping[str, Any]) -> Call[Dataset]:
    """Build a data set by a recipe from what the log has now. The same log gives the same data set."""
    body = arguments.changes("recipe", recipe)
    return change("POST", "/datasets", body=body, read=_read_dataset)


def get_dataset(terms: Terms, id: str) -> Call[Dataset]:
    """Return the manifest of a data set, by its id or the beginning of it."""
    return get(f"/datasets/{segment(id)}", _read_dataset)


def list_datasets(terms: Terms, *, name: str | None = None, limit: int = 100) -> Call[DatasetPage]:
    """Return manifests, newest first; those of one recipe's name, or all."""
    query: dict[str, Any] = {"limit": limit} if name is None else {"limit": limit, "name": name}
    return get(f"/datasets?{urlencode(query)}", msgspec.json.Decoder(DatasetPage).decode)


def export_dataset(
    terms: Terms, id: str, *, format: str = "rows", split: str | None = None
) -> Call[bytes]:
    """Return the rows: as `rows`, `simple`, `trl`, `trl_conversational`, `openai`, `csv` or `parquet`."""
    query = {"format": format} | ({} if split is None else {"split": split})
    # As bytes: a set may be Parquet, and the caller writes it to a file or hands it to a reader.
    return get(f"/datasets/{segment(id)}/rows?{urlencode(query)}", bytes)


def verify_dataset(terms: Terms, id: str) -> Call[DatasetCheck]:
    """Build a data set again from the same stretch of the log, and say whether each byte is the same."""
    read = msgspec.json.Decoder(DatasetCheck).decode
    return change("POST", f"/datasets/{segment(id)}/verify", body=None, read=read)


def diff_datasets(terms: Terms, first: str, second: str) -> Call[DatasetDiff]:
    """Return what changed from one data set to another."""
    path = f"/datasets/{segment(first)}/diff/{segment(second)}"
    return get(path, msgspec.json.Decoder(DatasetDiff).decode)


def expire_dataset(terms: Terms, id: str) -> Call[Dataset]:
    """Delete the rows of a data set; its manifest stays, and says when."""
    return change("DELETE", f"/datasets/{segment(id)}", body=None, read=_read_dataset)
