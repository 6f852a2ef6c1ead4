"""The registry of versions: immutable, addressed by id and digest, with lineage both ways.

A version is stored once. The same id with the same content is the same version; with other content it is a conflict.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.catalog import Journal
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.experiment import Experiment
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema
from loopwright.core.version import (
    Lineage,
    NewVersion,
    Version,
    VersionDiff,
    VersionKind,
    VersionLink,
    VersionPage,
)

MAX_CONTENT: Final = 256 * 1024
"""Largest content that the registry keeps, in bytes of JSON; what is larger is registered by reference."""

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE versions (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        dataset TEXT,
        created_at_ms BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        "CREATE INDEX versions_by_time ON versions (tenant_id, created_at_ms)",
    ),
)
"""Scripts for `apply_schema`, oldest first."""

_decode = msgspec.json.Decoder(Version).decode


class Versions:
    """The versions of every tenant. Safe to use from several threads and processes.

    `journal` belongs to the same database. `experiments` returns a tenant's experiments, whose arms point to versions.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        experiments: Callable[[str], Iterable[Experiment]],
    ) -> None:
        apply_schema(database, "versions", SCHEMA)
        self._database = database
        self._journal = journal
        self._experiments = experiments

    def add(self, tenant_id: str, new: NewVersion, *, actor: str = "") -> Version:
        """Register a version and return it; the same one again is returned as it is kept.

        Raises `Conflict` when the id has other content, `Invalid` for a version without content or with a parent that
        is not registered.
        """
        digest = digest_of(new)
        # Registered before, so that no lineage has a hole or a circle.
        for parent in new.parents:
            if parent == new.id or self._find(tenant_id, parent) is None:
                raise Invalid(
                    f"version {new.id!r} names the parent {parent!r}, which is not registered; register it first",
                    found=parent,
                )
        members = {name: getattr(new, name) for name in NewVersion.__struct_fields__}
        made = Version(
            **{**members, "digest": digest},
            tenant_id=tenant_id,
            actor=actor,
            created_at_ms=self._journal.now_ms(),
        )
        with self._journal.transaction() as session:
            is_new = session.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    tenant_id,
                    made.id,
                    made.kind,
                    digest,
                    made.dataset,
                    made.created_at_ms,
                    msgspec.json.encode(made).decode(),
                ),
            )
            if is_new:
                subject, detail = f"version/{made.id}", {"kind": made.kind, "digest": digest}
                self._journal.put(
                    session,
                    self._journal.told(tenant_id, subject, "register", actor=actor, **detail),
                )
        if not is_new:
            known = self.get(tenant_id, made.id)
            if not _same(known, made):
                raise Conflict(
                    f"version {made.id!r} is registered with the digest {known.digest[:12]}, and this has "
                    f"{digest[:12]} or another origin; versions never change: choose another id",
                    found=made.id,
                )
            return known
        self._journal.try_relay()
        return made

    def get(self, tenant_id: str, id: str) -> Version:
        """Return a version; raises `NotFound`."""
        found = self._find(tenant_id, id)
        if found is None:
            raise NotFound(f"there is no version {id!r}; register it first")
        return found

    def list(
        self, tenant_id: str, *, kind: VersionKind | None = None, limit: int = 100
    ) -> VersionPage:
        """Return the newest versions, of one kind or of all."""
        rows = self._database.query(
            "SELECT body FROM versions WHERE tenant_id = ? AND (? = '' OR kind = ?) "
            "ORDER BY created_at_ms DESC, id LIMIT ?",
            (tenant_id, kind or "", kind or "", limit),
        )
        return VersionPage(items=tuple(_decode(body) for (body,) in rows))

    def diff(self, tenant_id: str, first: str, second: str) -> VersionDiff:
        """Return what differs between two versions; raises `NotFound`."""
        return diff(self.get(tenant_id, first), self.get(tenant_id, second))

    def lineage(self, tenant_id: str, id: str) -> Lineage:
        """Return what a version was made from, and what was made from it, with the arms that serve each."""
        every = {version.id: version for version in self._all(tenant_id)}
        if id not in every:
            raise NotFound(f"there is no version {id!r}; register it first")
        arms: dict[str, list[str]] = {}
        for experiment in self._experiments(tenant_id):
            for arm in experiment.arms:
                if arm.version is not None:
                    arms.setdefault(arm.version, []).append(f"{experiment.id}/{arm.id}")
        links = [
            VersionLink(
                id=version.id,
                kind=version.kind,
                digest=version.digest,
                distance=distance,
                dataset=version.dataset,
                arms=tuple(arms.get(version.id, ())),
            )
            for version, distance in related(every, id)
        ]
        return Lineage(version=every[id], links=tuple(links))

    def of_dataset(self, tenant_id: str, dataset: str) -> tuple[Version, ...]:
        """Return every version made with a data set, and all that was made from these: what must go with it."""
        every = {version.id: version for version in self._all(tenant_id)}
        found: dict[str, Version] = {}
        for version in every.values():
            if version.dataset == dataset:
                for other, distance in related(every, version.id):
                    if distance >= 0:
                        found[other.id] = other
        return tuple(
            sorted(found.values(), key=lambda version: (version.created_at_ms, version.id))
        )

    def _find(self, tenant_id: str, id: str) -> Version | None:
        rows = self._database.query(
            "SELECT body FROM versions WHERE tenant_id = ? AND id = ?", (tenant_id, id)
        )
        return _decode(rows[0][0]) if rows else None

    # The whole registry of a tenant: some thousand rows, and walks in SQL differ between engines.
    def _all(self, tenant_id: str) -> Sequence[Version]:
        rows = self._database.query(
            "SELECT body FROM versions WHERE tenant_id = ? ORDER BY created_at_ms, id", (tenant_id,)
        )
        return [_decode(body) for (body,) in rows]


def digest_of(new: NewVersion) -> str:
    """Return the digest of a version's content. Raises `Invalid` when it has none, or more than is kept."""
    if (new.content is None) == (new.reference is None):
        raise Invalid(
            f"version {new.id!r} must have either content or a reference to it", found=new.id
        )
    if new.reference is not None:
        if new.digest is None:
            raise Invalid(
                f"version {new.id!r} refers to {new.reference!r} without a digest; give its SHA-256, so that "
                "what is served can be told from what was registered"
            )
        return new.digest
    # Keys sorted, so that the order of members, which means nothing in JSON, does not make another version.
    body = msgspec.json.encode(new.content, order="sorted")
    if len(body) > MAX_CONTENT:
        raise Invalid(
            f"the content of version {new.id!r} has {len(body)} bytes of JSON, at most {MAX_CONTENT} are kept; "
            "store it elsewhere and register a reference with its digest"
        )
    digest = sha256(body).hexdigest()
    if new.digest not in (None, digest):
        raise Invalid(
            f"version {new.id!r} states the digest {new.digest}, but its content has {digest}; leave it out"
        )
    return digest


def related(every: dict[str, Version], id: str) -> list[tuple[Version, int]]:
    """Return the ancestors and descendants of a version with their distance, farthest ancestor first."""
    children: dict[str, list[str]] = {}
    for version in every.values():
        for parent in version.parents:
            children.setdefault(parent, []).append(version.id)

    def parents(of: str) -> Sequence[str]:
        return every[of].parents

    before = _reached(id, parents)
    after = _reached(id, lambda of: children.get(of, ()))
    found = [(every[name], -steps) for name, steps in before.items() if name != id]
    found += [(every[name], steps) for name, steps in after.items()]
    return sorted(found, key=lambda item: (item[1], item[0].created_at_ms, item[0].id))


def diff(first: Version, second: Version) -> VersionDiff:
    """Return what differs between two versions, their content line by line."""
    left, right = structs.asdict(first), structs.asdict(second)
    members = {
        name: (left[name], right[name])
        for name in ("kind", "reference", "digest", "parents", "dataset", "eval_runs")
        if left[name] != right[name]
    }
    lines = difflib.unified_diff(
        _text(first.content), _text(second.content), first.id, second.id, lineterm="", n=2
    )
    return VersionDiff(
        first=first.id,
        second=second.id,
        is_same=first.digest == second.digest,
        members=members,
        lines=tuple(lines),
    )


def _same(known: Version, made: Version) -> bool:
    """Say whether two are one version: who registered it, and when, does not matter."""
    return structs.replace(known, actor="", created_at_ms=0, reason="") == structs.replace(
        made, actor="", created_at_ms=0, reason=""
    )


def _reached(start: str, next_of: Callable[[str], Sequence[str]]) -> dict[str, int]:
    """Return everything reached from `start`, with the least number of steps."""
    steps = {start: 0}
    waiting = [start]
    for name in waiting:
        for other in next_of(name):
            if other not in steps:
                steps[other] = steps[name] + 1
                waiting.append(other)
    return steps


def _text(content: Any) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return content.splitlines()
    return (
        msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2)
        .decode()
        .splitlines()
    )
