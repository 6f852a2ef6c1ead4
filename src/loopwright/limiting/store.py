"""Limits and the latest state of their controllers as rows."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from loopwright.core.errors import Conflict
from loopwright.core.limit import Limit
from loopwright.core.ports import Database, Session
from loopwright.core.schema import apply_schema

from .controller import Control

LIMITS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE limits (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
    ),
)
STATES: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE limit_states (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        through BIGINT NOT NULL,
        control TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
    ),
)
"""Scripts for `apply_schema`, oldest first. Limits are what people set; states can be read from the log again."""


def prepare(limits: Database, states: Database) -> None:
    """Make the tables where they are missing."""
    apply_schema(limits, "limits", LIMITS)
    apply_schema(states, "limit_states", STATES)


def all_limits(database: Database) -> list[Limit]:
    """Return the limits of every tenant."""
    rows = database.query("SELECT body FROM limits ORDER BY tenant_id, id")
    return [msgspec.json.decode(body, type=Limit) for (body,) in rows]


def put(session: Session, limit: Limit, *, before: int | None) -> None:
    """Keep a limit in the place of revision `before`, None for a new one. Raises `Conflict` when it is another."""
    body = msgspec.json.encode(limit).decode()
    if before is None:
        changed = session.execute(
            "INSERT INTO limits VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (limit.tenant_id, limit.id, limit.revision, body),
        )
    else:
        changed = session.execute(
            "UPDATE limits SET revision = ?, body = ? WHERE tenant_id = ? AND id = ? AND revision = ?",
            (limit.revision, body, limit.tenant_id, limit.id, before),
        )
    if not changed:
        raise Conflict(f"limit {limit.id!r} was changed by somebody else; read it again")


def delete(session: Session, tenant_id: str, id: str) -> None:
    """Remove a limit."""
    session.execute("DELETE FROM limits WHERE tenant_id = ? AND id = ?", (tenant_id, id))


def states(database: Database) -> dict[tuple[str, str], tuple[int, Control]]:
    """Return the latest state of each controller, with the offset through which its windows read ratings."""
    rows = database.query("SELECT tenant_id, id, through, control FROM limit_states")
    return {(tenant, id): (through, _control(control)) for tenant, id, through, control in rows}


def keep_state(session: Session, key: tuple[str, str], through: int, control: Control) -> None:
    """Keep the state of one controller."""
    session.execute(
        "INSERT INTO limit_states VALUES (?, ?, ?, ?) ON CONFLICT (tenant_id, id) "
        "DO UPDATE SET through = excluded.through, control = excluded.control",
        (*key, through, msgspec.json.encode(_finite(control)).decode()),
    )


def forget_state(session: Session, key: tuple[str, str]) -> None:
    """Remove the state of a limit that is gone."""
    session.execute("DELETE FROM limit_states WHERE tenant_id = ? AND id = ?", key)


def _finite(control: Control) -> dict[str, Any]:
    # JSON has no infinity: before its first window a controller ended at minus infinity.
    found: dict[str, Any] = msgspec.to_builtins(control)
    return {name: value for name, value in found.items() if name != "ended_s"} | {
        "ended_s": str(control.ended_s)
    }


def _control(text: str) -> Control:
    return msgspec.convert(msgspec.json.decode(text), Control, strict=False)
