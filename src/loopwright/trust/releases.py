"""Releases: rushes of votes that somebody has looked at and lets count.

A trust view is a function of the facts, the rules and these. So a release never touches a fact: it says which
arm and time it is about, who said so, when and why. One that is taken back is kept, with who did that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, structs

from loopwright.core.clock import DAY_MS, Clock
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.events import Changed
from loopwright.core.experiment import Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

LONGEST_MS: Final = 7 * DAY_MS
"""A release is of a rush that somebody has looked at; a longer one would switch the rule off."""

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE releases (
        id TEXT PRIMARY KEY,
        tenant_id TEXT NOT NULL,
        experiment_id TEXT,
        arm_id TEXT,
        from_ms BIGINT NOT NULL,
        to_ms BIGINT NOT NULL,
        note TEXT NOT NULL,
        released_by TEXT NOT NULL,
        released_at_ms BIGINT NOT NULL,
        withdrawn_by TEXT,
        withdrawn_at_ms BIGINT
    )
    """,
        "CREATE INDEX releases_by_tenant ON releases (tenant_id, to_ms)",
    ),
)
"""Scripts for `apply_schema`, oldest first."""

Moment = Annotated[int, Meta(ge=0, le=2**53)]


class NewRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which votes held back as a burst are to count after all: what a burst of the trust view names."""

    experiment_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """None: what is of no experiment."""
    arm_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    from_ms: Moment
    to_ms: Moment
    """Itself included."""
    note: Annotated[str, Meta(max_length=500)] = ""
    """Why; for whoever reads the report."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Votes of one arm and time that count although they came in a burst, unless it was taken back."""

    id: str
    experiment_id: str | None
    arm_id: str | None
    from_ms: int
    to_ms: int
    """Itself included."""
    note: str
    released_by: str
    released_at_ms: int
    withdrawn_by: str | None = None
    withdrawn_at_ms: int | None = None


class ReleaseList(msgspec.Struct, frozen=True):
    """Releases, newest first, those that were taken back included."""

    items: list[Release]


class Releases:
    """The releases of every tenant. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        apply_schema(database, "releases", SCHEMA)
        self._database = database
        self._lock = threading.Lock()

    def add(self, tenant_id: str, release: Release) -> None:
        """Keep a release. Raises `Conflict` when the very same is in force already."""
        with self._lock, self._database.transaction() as session:
            known = session.query(
                f"{_COLUMNS} WHERE tenant_id = ? AND from_ms = ? AND to_ms = ? "
                "AND withdrawn_at_ms IS NULL",
                (tenant_id, release.from_ms, release.to_ms),
            )
            for found in map(_release, known):
                if (found.experiment_id, found.arm_id) == (release.experiment_id, release.arm_id):
                    raise Conflict(
                        f"this is released already, by {found.released_by}", release_id=found.id
                    )
            row = structs.asdict(release)
            session.execute(
                "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row.pop("id"), tenant_id, *row.values()),
            )

    def withdraw(self, tenant_id: str, id: str, *, by: str, at_ms: int) -> Release:
        """Take a release back and return it as it now is; raises `NotFound` when it is not in force."""
        with self._lock, self._database.transaction() as session:
            changed = session.execute(
                "UPDATE releases SET withdrawn_by = ?, withdrawn_at_ms = ? "
                "WHERE tenant_id = ? AND id = ? AND withdrawn_at_ms IS NULL",
                (by, at_ms, tenant_id, id),
            )
            if not changed:
                raise NotFound(f"no release '{id[:40]}' is in force; it may be taken back already")
            return _release(session.query(f"{_COLUMNS} WHERE id = ?", (id,))[0])

    def list(self, tenant_id: str, *, limit: int) -> ReleaseList:
        """Return the newest releases."""
        rows = self._database.query(
            f"{_COLUMNS} WHERE tenant_id = ? ORDER BY released_at_ms DESC, id DESC LIMIT ?",
            (tenant_id, limit),
        )
        return ReleaseList([_release(row) for row in rows])

    def in_force(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[Release]:
        """Return the releases that hold for something from `from_ms` until before `to_ms`, oldest first."""
        rows = self._database.query(
            f"{_COLUMNS} WHERE tenant_id = ? AND to_ms >= ? AND from_ms < ? "
            "AND withdrawn_at_ms IS NULL ORDER BY released_at_ms, id",
            (tenant_id, from_ms, to_ms),
        )
        return [_release(row) for row in rows]


class Releasing:
    """Lets held back votes count, and takes that back; the audit trail hears of both."""

    def __init__(
        self,
        releases: Releases,
        *,
        clock: Clock,
        ids: Ids,
        find: Callable[[str, str], Experiment | None],
        audit: Callable[[Changed], None],
    ) -> None:
        self._releases = releases
        self._now_ms = clock.now_ms
        self._ids = ids
        self._find = find
        self._audit = audit

    def release(self, tenant_id: str, asked: NewRelease, *, actor: str) -> Release:
        """Let what was held back as a burst within `asked` count from now on.

        Raises `Invalid` for a time that is over before it begins, longer than `LONGEST_MS` or not over yet,
        `NotFound` for an experiment or arm that is not the tenant's, `Conflict` when it is released already.
        """
        now_ms = self._now_ms()
        _check_time(asked, now_ms)
        self._check_arm(tenant_id, asked)
        made = Release(
            id=self._ids(now_ms),
            **structs.asdict(asked),
            released_by=actor,
            released_at_ms=now_ms,
        )
        self._releases.add(tenant_id, made)
        detail = structs.asdict(asked)
        self._audit(Changed(now_ms, tenant_id, actor, f"release/{made.id}", "release", detail))
        return made

    def withdraw(self, tenant_id: str, id: str, *, actor: str) -> Release:
        """Hold back again what a release let count; raises `NotFound` when it is not in force."""
        now_ms = self._now_ms()
        found = self._releases.withdraw(tenant_id, id, by=actor, at_ms=now_ms)
        self._audit(Changed(now_ms, tenant_id, actor, f"release/{id}", "withdraw"))
        return found

    def _check_arm(self, tenant_id: str, asked: NewRelease) -> None:
        if asked.experiment_id is None:
            if asked.arm_id is not None:
                raise Invalid(f"arm '{asked.arm_id}' is of no experiment; give experiment_id too")
            return
        experiment = self._find(tenant_id, asked.experiment_id)
        if experiment is None:
            raise NotFound(f"there is no experiment '{asked.experiment_id}'")
        if asked.arm_id is not None and asked.arm_id not in {arm.id for arm in experiment.arms}:
            raise NotFound(f"experiment '{asked.experiment_id}' has no arm '{asked.arm_id}'")


def _check_time(asked: NewRelease, now_ms: int) -> None:
    if asked.to_ms < asked.from_ms:
        raise Invalid(f"to_ms is {asked.to_ms}, before from_ms {asked.from_ms}; swap them")
    if asked.to_ms - asked.from_ms > LONGEST_MS:
        raise Invalid("a release is of at most 7 days; release each burst by itself")
    if asked.to_ms > now_ms:
        raise Invalid(
            f"to_ms is {asked.to_ms}, and now is {now_ms}; what has not come yet cannot have been looked at"
        )


_COLUMNS: Final = (
    "SELECT id, experiment_id, arm_id, from_ms, to_ms, note, released_by, released_at_ms, "
    "withdrawn_by, withdrawn_at_ms FROM releases"
)


def _release(row: tuple[Any, ...]) -> Release:
    return Release(**dict(zip(Release.__struct_fields__, row, strict=True)))
