"""Data sets as values: a recipe says what to build, a manifest what was built from what."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .experiment import Slug

DatasetKind = Literal["preference", "kto", "sft", "reward"]
DatasetFormat = Literal["rows", "simple", "trl", "trl_conversational", "openai", "csv", "parquet"]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Part = Annotated[float, Meta(gt=0, le=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build, by rules that give the same rows from the same log."""

    name: Slug
    kind: DatasetKind = "preference"
    tasks: tuple[Name, ...] = ()
    """Feedback of these tasks alone; all without any."""
    prompt_versions: tuple[Name, ...] = ()
    days: Annotated[int, Meta(ge=1, le=3650)] | None = 30
    """The last so many days, resolved to instants when it is built; or give `from_ms` and `to_ms`."""
    from_ms: int | None = None
    to_ms: int | None = None
    """Excluded."""
    consent: Literal["train", "share"] = "train"
    """The consent that a person must have given."""
    margin: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Least difference of two mean ratings on [0, 1] that make a pair: two of five stars."""
    least_edit: Annotated[float, Meta(ge=0, le=1)] = 0.02
    most_edit: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """Corrections that change less or more of the text are left out: slips, and other answers."""
    per_input: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Most rows of one input."""
    per_person: Annotated[int, Meta(ge=1, le=100_000)] = 200
    """Most rows of one person."""
    most_chars: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Longest text; a row with a longer one is left out."""
    splits: dict[Slug, Part] = msgspec.field(default_factory=lambda: {"train": 0.9, "test": 0.1})
    """Shares of the units by split; they sum to 1."""
    salt: Annotated[str, Meta(max_length=128)] = ""
    """Another salt deals the units anew."""
    exclude: tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Digests of inputs that must not be in it, such as those of goldens."""


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable file of rows, one JSON object a line."""

    name: str
    split: str
    rows: int
    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """What was built: the manifest. Its id is the digest of all that decides its bytes."""

    id: str
    tenant_id: str
    name: str
    kind: DatasetKind
    recipe: Recipe
    from_ms: int
    to_ms: int
    watermark: int
    """Offset of the log through which facts were read."""
    code_version: str
    rows: int
    shards: tuple[Shard, ...]
    read: int
    """Facts that the recipe was applied to."""
    dropped: dict[str, int]
    """Facts and pairs that were left out, by reason."""
    length_ratio: float | None = None
    """Mean length of the chosen text over that of the rejected one; far from 1 teaches length."""
    parents: tuple[str, ...] = ()
    built_at_ms: int = 0
    actor: str = ""
    expired_at_ms: int | None = None
    """When its shards were deleted; None while they are there."""


class DatasetPage(msgspec.Struct, frozen=True, kw_only=True):
    """Data sets, newest first."""

    items: tuple[Dataset, ...]


class DatasetCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A data set built again from the log, compared with what was built."""

    id: str
    is_equal: bool
    """Whether every byte is the same."""
    gone: int = 0
    """Rows that are not built any more: an erasure or a withdrawn consent took them from the log."""
    new: int = 0
    """Rows that were not built before."""
    damaged: tuple[str, ...] = ()
    """Shards whose bytes are not what the manifest says."""
    reasons: tuple[str, ...] = ()


class DatasetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from one data set to another."""

    first: str
    second: str
    recipe: dict[str, tuple[object, object]] = {}
    """Members of the recipe that differ, with both values."""
    rows: tuple[int, int] = (0, 0)
    dropped: dict[str, tuple[int, int]] = {}
    common: int = 0
    """Rows that both have."""
