"""Versions: immutable artifacts that arms point to, with where they come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .experiment import Slug

VersionKind = Literal[
    "prompt",
    "model",
    "tool",
    "retrieval_config",
    "reranker",
    "finetune",
    "policy_spec",
    "policy_snapshot",
    "fewshot",
]


class NewVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version to register: its content, or a reference to it with its digest."""

    id: Slug
    kind: VersionKind
    content: Any = None
    """JSON: the text of a prompt, the parameters of a retrieval."""
    reference: Annotated[str, Meta(max_length=2048)] | None = None
    """Where content lies that is not kept here, such as a model's weights."""
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of what `reference` names; of `content` it is computed."""
    parents: tuple[Slug, ...] = ()
    """Versions that it was made from."""
    dataset: Annotated[str, Meta(max_length=128)] | None = None
    """Id of the manifest of the data that it was made with."""
    eval_runs: tuple[Annotated[str, Meta(max_length=128)], ...] = ()
    reason: Annotated[str, Meta(max_length=2000)] = ""
    """Why it was made."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version. It never changes; a change is another version, with this one as a parent."""

    id: str
    tenant_id: str
    kind: VersionKind
    digest: str
    """SHA-256 of the content, hexadecimal."""
    content: Any = None
    reference: str | None = None
    parents: tuple[str, ...] = ()
    dataset: str | None = None
    eval_runs: tuple[str, ...] = ()
    reason: str = ""
    actor: str = ""
    created_at_ms: int = 0


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, newest first."""

    items: tuple[Version, ...]


class VersionLink(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a lineage, and how it was reached."""

    id: str
    kind: VersionKind
    digest: str
    distance: int
    """Steps from the version that was asked about; negative for what it was made from."""
    dataset: str | None = None
    arms: tuple[str, ...] = ()
    """The arms that point to it, as `experiment/arm`."""


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was made from, and what was made from it."""

    version: Version
    links: tuple[VersionLink, ...]
    """Farthest ancestor first, the version itself in between, farthest descendant last."""


class VersionDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions side by side."""

    first: str
    second: str
    is_same: bool
    members: dict[str, tuple[Any, Any]] = {}
    """Members other than the content that differ, with both values."""
    lines: tuple[str, ...] = ()
    """The content as a unified diff, line by line."""
