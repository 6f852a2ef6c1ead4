"""Clearances: bursts of votes that a person has looked at and cleared, so that they count.

A trust view is a function of the facts, the rules and the clearances. So a clearance changes no fact: it names an
arm and a time, who cleared it, when and why. A clearance that is withdrawn is kept, with who withdrew it. On the
wire and in the database it is called a release.
"""

from __future__ import annotations

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
"""A clearance is for one burst; a longer one would switch the rule off."""

# Names are those of the wire, where clearances are releases: stored tables are not renamed.
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
    (
        # A unique index takes two NULLs for different, so they are spelt as the id that nothing has.
        """
    CREATE UNIQUE INDEX releases_in_force ON releases
        (tenant_id, coalesce(experiment_id, ''), coalesce(arm_id, ''), from_ms, to_ms)
        WHERE withdrawn_at_ms IS NULL
    """,
    ),
)
"""Scripts for `apply_schema`, oldest first."""

Moment = Annotated[int, Meta(ge=0, le=2**53)]


class NewClearance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arm and time of a burst to clear, as a burst of the trust view gives them."""

    experiment_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """None for facts without an experiment."""
    arm_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    from_ms: Moment
    to_ms: Moment
    """Included."""
    note: Annotated[str, Meta(max_length=500)] = ""
    """The reason; shown in reports."""


class Clearance(msgspec.Struct, frozen=True, kw_only=True):
    """A cleared burst: votes of one arm and time that count, unless the clearance was withdrawn."""

    id: str
    experiment_id: str | None
    arm_id: str | None
    from_ms: int
    to_ms: int
    """Included."""
    note: str
    released_by: str
    released_at_ms: int
    withdrawn_by: str | None = None
    withdrawn_at_ms: int | None = None


class ClearanceList(msgspec.Struct, frozen=True):
    """Clearances, newest first, withdrawn ones included."""

    items: list[Clearance]


class Clearances:
    """The clearances of every tenant. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        apply_schema(database, "releases", SCHEMA)
        self._database = database

    def add(self, tenant_id: str, made: Clearance) -> None:
        """Keep a clearance. Raises `Conflict` when the same arm and time are cleared already."""
        row = structs.asdict(made)
        with self._database.transaction() as session:
            # The index decides, not a query before the insert: two people may clear one burst at the same time.
            is_new = session.execute(
                "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (row.pop("id"), tenant_id, *row.values()),
            )
            if is_new:
                return
            known = session.query(
                f"{_COLUMNS} WHERE tenant_id = ? AND from_ms = ? AND to_ms = ? "
                "AND withdrawn_at_ms IS NULL",
                (tenant_id, made.from_ms, made.to_ms),
            )
        for found in map(_clearance, known):
            if (found.experiment_id, found.arm_id) == (made.experiment_id, made.arm_id):
                raise Conflict(
                    f"this is released already, by {found.released_by}", release_id=found.id
                )
        raise Conflict("this was released and withdrawn just now; try again")

    def withdraw(self, tenant_id: str, id: str, *, by: str, at_ms: int) -> Clearance:
        """Withdraw a clearance and return it as it now is; raises `NotFound` when it is not in force."""
        with self._database.transaction() as session:
            changed = session.execute(
                # One statement checks and changes, so a clearance is withdrawn once, and by one person.
                "UPDATE releases SET withdrawn_by = ?, withdrawn_at_ms = ? "
                "WHERE tenant_id = ? AND id = ? AND withdrawn_at_ms IS NULL",
                (by, at_ms, tenant_id, id),
            )
            if not changed:
                raise NotFound(f"no release '{id[:40]}' is in force; it may be taken back already")
            return _clearance(session.query(f"{_COLUMNS} WHERE id = ?", (id,))[0])

    def list(self, tenant_id: str, *, limit: int) -> ClearanceList:
        """Return the newest clearances."""
        rows = self._database.query(
            f"{_COLUMNS} WHERE tenant_id = ? ORDER BY released_at_ms DESC, id DESC LIMIT ?",
            (tenant_id, limit),
        )
        return ClearanceList([_clearance(row) for row in rows])

    def in_force(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[Clearance]:
        """Return the clearances in force between `from_ms` and before `to_ms`, oldest first."""
        rows = self._database.query(
            f"{_COLUMNS} WHERE tenant_id = ? AND to_ms >= ? AND from_ms < ? "
            # In the order they were made, so that the newest of several for one burst is the last.
            "AND withdrawn_at_ms IS NULL ORDER BY released_at_ms, id",
            (tenant_id, from_ms, to_ms),
        )
        return [_clearance(row) for row in rows]


class Clearing:
    """Clears bursts and withdraws clearances; writes both to the audit trail."""

    def __init__(
        self,
        clearances: Clearances,
        *,
        clock: Clock,
        ids: Ids,
        find: Callable[[str, str], Experiment | None],
        audit: Callable[[Changed], None],
    ) -> None:
        self._clearances = clearances
        self._now_ms = clock.now_ms
        self._ids = ids
        self._find = find
        self._audit = audit

    def clear(self, tenant_id: str, asked: NewClearance, *, actor: str) -> Clearance:
        """Let the votes that were held back as a burst within `asked` count from now on.

        Raises `Invalid` for a time that is over before it begins, longer than `LONGEST_MS` or not over yet,
        `NotFound` for an experiment or arm that the tenant does not have, `Conflict` when it is cleared already.
        """
        now_ms = self._now_ms()
        _check_time(asked, now_ms)
        self._check_arm(tenant_id, asked)
        made = Clearance(
            id=self._ids(now_ms),
            **structs.asdict(asked),
            released_by=actor,
            released_at_ms=now_ms,
        )
        # Before the audit, which must not tell of a clearance that was refused.
        self._clearances.add(tenant_id, made)
        detail = structs.asdict(asked)
        self._audit(Changed(now_ms, tenant_id, actor, f"release/{made.id}", "release", detail))
        return made

    def withdraw(self, tenant_id: str, id: str, *, actor: str) -> Clearance:
        """Withdraw a clearance, so that its votes are held back again; raises `NotFound` when it is not in force."""
        now_ms = self._now_ms()
        found = self._clearances.withdraw(tenant_id, id, by=actor, at_ms=now_ms)
        self._audit(Changed(now_ms, tenant_id, actor, f"release/{id}", "withdraw"))
        return found

    def _check_arm(self, tenant_id: str, asked: NewClearance) -> None:
        if asked.experiment_id is None:
            if asked.arm_id is not None:
                raise Invalid(f"arm '{asked.arm_id}' is of no experiment; give experiment_id too")
            return
        experiment = self._find(tenant_id, asked.experiment_id)
        if experiment is None:
            raise NotFound(f"there is no experiment '{asked.experiment_id}'")
        if asked.arm_id is not None and asked.arm_id not in {arm.id for arm in experiment.arms}:
            raise NotFound(f"experiment '{asked.experiment_id}' has no arm '{asked.arm_id}'")


def _check_time(asked: NewClearance, now_ms: int) -> None:
    if asked.to_ms < asked.from_ms:
        raise Invalid(f"to_ms is {asked.to_ms}, before from_ms {asked.from_ms}; swap them")
    if asked.to_ms - asked.from_ms > LONGEST_MS:
        raise Invalid("a release is of at most 7 days; release each burst by itself")
    # Also keeps an attacker with a key from clearing a burst beforehand.
    if asked.to_ms > now_ms:
        raise Invalid(
            f"to_ms is {asked.to_ms}, and now is {now_ms}; what has not come yet cannot have been looked at"
        )


_COLUMNS: Final = (
    "SELECT id, experiment_id, arm_id, from_ms, to_ms, note, released_by, released_at_ms, "
    "withdrawn_by, withdrawn_at_ms FROM releases"
)


def _clearance(row: tuple[Any, ...]) -> Clearance:
    return Clearance(**dict(zip(Clearance.__struct_fields__, row, strict=True)))
