"""Rollouts as rows: one open one per experiment, changed only from the revision that was read."""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import Conflict, NotFound, StaleVersion
from loopwright.core.ports import Database, Session
from loopwright.core.rollout import Rollout

from .watch import Watch

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE rollouts (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        experiment_id TEXT NOT NULL,
        began_at_ms BIGINT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        is_applied INTEGER NOT NULL,
        body TEXT NOT NULL,
        watched TEXT,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        # The index decides, not a query before the insert: two people may begin one at the same time.
        """
    CREATE UNIQUE INDEX rollouts_open ON rollouts (tenant_id, experiment_id)
        WHERE state IN ('running', 'held')
    """,
        "CREATE INDEX rollouts_by_time ON rollouts (tenant_id, began_at_ms)",
    ),
)
"""Scripts for `apply_schema`, oldest first."""

_decode = msgspec.json.Decoder(Rollout).decode


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """The watch over a promotion, and the place in the log through which it has seen values."""

    watch: Watch
    place: int = 0


def add(session: Session, rollout: Rollout) -> None:
    """Keep a new rollout. Raises `Conflict` when its id is taken or its experiment has an open one."""
    body = msgspec.json.encode(rollout).decode()
    is_new = session.execute(
        "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
        (
            rollout.tenant_id,
            rollout.id,
            rollout.experiment_id,
            rollout.entered_at_ms,
            rollout.revision,
            rollout.state,
            int(rollout.is_applied),
            body,
        ),
    )
    if is_new:
        return
    # Which constraint it was is said in other words by each engine, so it is looked up.
    same = session.query(
        "SELECT 1 FROM rollouts WHERE tenant_id = ? AND id = ?", (rollout.tenant_id, rollout.id)
    )
    if same:
        raise Conflict(f"there is already a rollout {rollout.id!r}; choose another id")
    raise Conflict(
        f"experiment {rollout.experiment_id!r} has an open rollout; one at a time: cancel it or wait for its end"
    )


def change(session: Session, before: Rollout, after: Rollout) -> None:
    """Replace a rollout. Raises `StaleVersion` when it is no longer as `before`."""
    changed = session.execute(
        "UPDATE rollouts SET revision = ?, state = ?, is_applied = ?, body = ? "
        "WHERE tenant_id = ? AND id = ? AND revision = ? AND is_applied = ?",
        (
            after.revision,
            after.state,
            int(after.is_applied),
            msgspec.json.encode(after).decode(),
            before.tenant_id,
            before.id,
            before.revision,
            int(before.is_applied),
        ),
    )
    if not changed:
        raise StaleVersion(
            f"rollout {before.id!r} moved in the meantime; read it again", expected=before.revision
        )


def get(database: Database, tenant_id: str, id: str) -> Rollout:
    """Return a rollout; raises `NotFound`."""
    rows = database.query(
        "SELECT body FROM rollouts WHERE tenant_id = ? AND id = ?", (tenant_id, id)
    )
    if not rows:
        raise NotFound(f"there is no rollout {id!r}; begin one first")
    return _decode(rows[0][0])


def newest(
    database: Database, tenant_id: str, *, experiment_id: str | None = None, limit: int
) -> tuple[Rollout, ...]:
    """Return a tenant's rollouts, newest first."""
    rows = database.query(
        "SELECT body FROM rollouts WHERE tenant_id = ? AND (? = '' OR experiment_id = ?) "
        "ORDER BY began_at_ms DESC, id LIMIT ?",
        (tenant_id, experiment_id or "", experiment_id or "", limit),
    )
    return tuple(_decode(body) for (body,) in rows)


def moving(database: Database) -> tuple[Rollout, ...]:
    """Return every rollout that background work looks at: running, promoted, or not yet applied."""
    rows = database.query(
        "SELECT body FROM rollouts WHERE state = 'running' OR is_applied = 0 OR (state = 'promoted' AND watched IS NOT NULL) "
        "ORDER BY tenant_id, began_at_ms, id"
    )
    return tuple(_decode(body) for (body,) in rows)


def watched(database: Database, rollout: Rollout) -> Watched | None:
    """Return the watch over a promotion; None when there is none."""
    rows = database.query(
        "SELECT watched FROM rollouts WHERE tenant_id = ? AND id = ?",
        (rollout.tenant_id, rollout.id),
    )
    return msgspec.json.decode(rows[0][0], type=Watched) if rows and rows[0][0] else None


def keep_watched(session: Session, rollout: Rollout, state: Watched) -> None:
    """Keep the watch over a promotion."""
    session.execute(
        "UPDATE rollouts SET watched = ? WHERE tenant_id = ? AND id = ?",
        (msgspec.json.encode(state).decode(), rollout.tenant_id, rollout.id),
    )
