"""Triggers, firings and deliveries as rows of the catalog's database."""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import Conflict, NotFound, StaleVersion
from loopwright.core.ports import Database, Session
from loopwright.core.trigger import DeliveryState, Trigger, TriggerDelivery, TriggerFiring

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE triggers (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        is_enabled INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        """
    CREATE TABLE trigger_firings (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        trigger_id TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        """
    CREATE TABLE trigger_deliveries (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        trigger_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        due_ms BIGINT NOT NULL,
        tries INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        # Delivered rows stay as history; only those that wait are looked for, every few seconds.
        "CREATE INDEX trigger_deliveries_due ON trigger_deliveries (due_ms) WHERE state = 'waiting'",
    ),
)
"""Scripts for `apply_schema`, oldest first."""

_trigger = msgspec.json.Decoder(Trigger).decode
_firing = msgspec.json.Decoder(TriggerFiring).decode
_delivery = msgspec.json.Decoder(TriggerDelivery).decode


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def add(session: Session, trigger: Trigger) -> None:
    """Keep a new trigger. Raises `Conflict` when its id is taken."""
    is_new = session.execute(
        "INSERT INTO triggers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (trigger.tenant_id, trigger.id, trigger.revision, int(trigger.is_enabled), _text(trigger)),
    )
    if not is_new:
        raise Conflict(
            f"there is already a trigger {trigger.id!r}; remove it first, or choose another id"
        )


def change(session: Session, before: Trigger, after: Trigger) -> None:
    """Replace a trigger. Raises `StaleVersion` when it is no longer as `before`."""
    changed = session.execute(
        "UPDATE triggers SET revision = ?, is_enabled = ?, body = ? "
        "WHERE tenant_id = ? AND id = ? AND revision = ?",
        (
            after.revision,
            int(after.is_enabled),
            _text(after),
            before.tenant_id,
            before.id,
            before.revision,
        ),
    )
    if not changed:
        raise StaleVersion(
            f"trigger {before.id!r} changed in the meantime; read it again",
            expected=before.revision,
        )


def remove(session: Session, tenant_id: str, id: str) -> None:
    """Forget a trigger; its firings and deliveries stay. Raises `NotFound`."""
    if not session.execute("DELETE FROM triggers WHERE tenant_id = ? AND id = ?", (tenant_id, id)):
        raise NotFound(f"there is no trigger {id!r}")


def get(source: Database | Session, tenant_id: str, id: str) -> Trigger:
    """Return a trigger; raises `NotFound`."""
    rows = source.query("SELECT body FROM triggers WHERE tenant_id = ? AND id = ?", (tenant_id, id))
    if not rows:
        raise NotFound(f"there is no trigger {id!r}; add one first")
    return _trigger(rows[0][0])


def all_of(database: Database, tenant_id: str) -> tuple[Trigger, ...]:
    """Return a tenant's triggers by their ids."""
    rows = database.query("SELECT body FROM triggers WHERE tenant_id = ? ORDER BY id", (tenant_id,))
    return tuple(_trigger(body) for (body,) in rows)


def enabled(database: Database) -> tuple[Trigger, ...]:
    """Return every tenant's triggers that are looked at."""
    rows = database.query("SELECT body FROM triggers WHERE is_enabled = 1 ORDER BY tenant_id, id")
    return tuple(_trigger(body) for (body,) in rows)


def add_firing(session: Session, firing: TriggerFiring) -> None:
    """Keep a firing."""
    session.execute(
        "INSERT INTO trigger_firings VALUES (?, ?, ?, ?)",
        (firing.tenant_id, firing.id, firing.trigger_id, _text(firing)),
    )


def firings(
    database: Database, tenant_id: str, *, trigger_id: str | None, limit: int
) -> tuple[TriggerFiring, ...]:
    """Return firings, newest first: their ids begin with their time."""
    rows = database.query(
        "SELECT body FROM trigger_firings WHERE tenant_id = ? AND (? = '' OR trigger_id = ?) "
        "ORDER BY id DESC LIMIT ?",
        (tenant_id, trigger_id or "", trigger_id or "", limit),
    )
    return tuple(_firing(body) for (body,) in rows)


def add_delivery(session: Session, delivery: TriggerDelivery) -> None:
    """Keep a new delivery."""
    session.execute(
        "INSERT INTO trigger_deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            delivery.tenant_id,
            delivery.id,
            delivery.trigger_id,
            _kind(delivery),
            delivery.state,
            delivery.due_ms,
            delivery.tries,
            _text(delivery),
        ),
    )


def change_delivery(
    session: Session, delivery: TriggerDelivery, *, was: DeliveryState = "waiting"
) -> bool:
    """Replace a delivery that is still in the state `was`; False when somebody changed that in the meantime."""
    return bool(
        session.execute(
            "UPDATE trigger_deliveries SET state = ?, due_ms = ?, tries = ?, body = ? "
            "WHERE tenant_id = ? AND id = ? AND state = ?",
            (
                delivery.state,
                delivery.due_ms,
                delivery.tries,
                _text(delivery),
                delivery.tenant_id,
                delivery.id,
                was,
            ),
        )
    )


def delivery(database: Database, tenant_id: str, id: str) -> TriggerDelivery:
    """Return a delivery; raises `NotFound`."""
    rows = database.query(
        "SELECT body FROM trigger_deliveries WHERE tenant_id = ? AND id = ?", (tenant_id, id)
    )
    if not rows:
        raise NotFound(f"there is no delivery {id!r}")
    return _delivery(rows[0][0])


def deliveries(
    source: Database | Session,
    tenant_id: str,
    *,
    trigger_id: str | None = None,
    state: DeliveryState | None = None,
    limit: int,
) -> tuple[TriggerDelivery, ...]:
    """Return deliveries, newest first."""
    rows = source.query(
        "SELECT body FROM trigger_deliveries WHERE tenant_id = ? AND (? = '' OR trigger_id = ?) "
        "AND (? = '' OR state = ?) ORDER BY id DESC LIMIT ?",
        (tenant_id, trigger_id or "", trigger_id or "", state or "", state or "", limit),
    )
    return tuple(_delivery(body) for (body,) in rows)


def due(
    database: Database, *, now_ms: int, are_commands: bool, limit: int
) -> tuple[TriggerDelivery, ...]:
    """Return the deliveries whose next attempt is due: commands, or all others."""
    # Least tried first, so that one receiver that stalls does not hold up what was never tried.
    rows = database.query(
        "SELECT body FROM trigger_deliveries WHERE state = 'waiting' AND due_ms <= ? "
        "AND (kind = 'command') = (? = 1) ORDER BY tries, due_ms, id LIMIT ?",
        (now_ms, int(are_commands), limit),
    )
    return tuple(_delivery(body) for (body,) in rows)


def _kind(of: TriggerDelivery) -> str:
    return str(of.action.__struct_config__.tag)
