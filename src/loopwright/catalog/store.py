"""The catalog's tables. Times are milliseconds since the epoch; digests are hexadecimal text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from loopwright.core.ports import Database, Session
from loopwright.core.principal import Key, StoredKey
from loopwright.core.tenancy import Quotas, Tenant

from .secret import checked_scopes, prefix_of

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE tenants (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        created_at_ms BIGINT NOT NULL
    )
    """,
        """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        tenant_id TEXT NOT NULL REFERENCES tenants (id),
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        previous_digest TEXT,
        created_at_ms BIGINT NOT NULL,
        rotated_at_ms BIGINT,
        previous_valid_until_ms BIGINT,
        expires_at_ms BIGINT,
        revoked_at_ms BIGINT,
        last_used_ms BIGINT
    )
    """,
        """
    CREATE TABLE experiments (
        tenant_id TEXT NOT NULL REFERENCES tenants (id),
        id TEXT NOT NULL,
        revision BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
    ),
    (
        # One row, updated by every transaction that adds to the outbox: its lock makes the order of numbers the
        # order of commits on every engine.
        "CREATE TABLE outbox_counter (seq BIGINT NOT NULL)",
        "INSERT INTO outbox_counter VALUES (0)",
        "CREATE TABLE outbox (seq BIGINT PRIMARY KEY, event_id TEXT NOT NULL, version BIGINT NOT NULL, "
        "body BYTEA NOT NULL)",
        # 0 marks what was stored before the event log held control facts: `Catalog.adopt` tells the log of it.
        "ALTER TABLE experiments ADD COLUMN told BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE keys ADD COLUMN revision BIGINT NOT NULL DEFAULT 0",
    ),
    (
        # 0 marks a key from when `admin` acted for every tenant: `Keys` makes the first of them the operator's.
        "ALTER TABLE keys ADD COLUMN has_role BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE tenants ADD COLUMN quotas TEXT NOT NULL DEFAULT '{}'",
    ),
)
"""Scripts for `apply_schema`, oldest first."""


class Waiting(msgspec.Struct, frozen=True):
    """A fact in the outbox, encoded in schema version `version`."""

    seq: int
    event_id: str
    version: int
    body: bytes


def tenants(database: Database) -> list[Tenant]:
    """Return every tenant."""
    rows = database.query("SELECT id, name, created_at_ms, quotas FROM tenants ORDER BY id")
    return [
        Tenant(id=id, name=name, created_at_ms=at, quotas=msgspec.json.decode(quotas, type=Quotas))
        for id, name, at, quotas in rows
    ]


def keys(database: Database) -> list[StoredKey]:
    """Return every key, revoked ones too."""
    rows = database.query(
        """
        SELECT id, tenant_id, name, scopes, digest, previous_digest, created_at_ms, rotated_at_ms,
               previous_valid_until_ms, expires_at_ms, revoked_at_ms, last_used_ms, revision
        FROM keys ORDER BY id
        """
    )
    return [_key(*row) for row in rows]


def experiment_bodies(database: Database) -> list[str]:
    """Return every experiment as it was stored."""
    return [body for (body,) in database.query("SELECT body FROM experiments ORDER BY id")]


def add_tenant(session: Session, tenant: Tenant) -> None:
    """Store a new tenant."""
    session.execute(
        "INSERT INTO tenants (id, name, created_at_ms) VALUES (?, ?, ?)",
        (tenant.id, tenant.name, tenant.created_at_ms),
    )


def set_quotas(session: Session, tenant_id: str, quotas: Quotas) -> None:
    """Store what a tenant may use."""
    session.execute(
        "UPDATE tenants SET quotas = ? WHERE id = ?",
        (msgspec.json.encode(quotas).decode(), tenant_id),
    )


def add_key(session: Session, stored: StoredKey) -> None:
    """Store a new key."""
    key = stored.key
    session.execute(
        """
        INSERT INTO keys (id, tenant_id, name, scopes, digest, created_at_ms, expires_at_ms, revision,
                          has_role)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        """,
        (
            key.id,
            key.tenant_id,
            key.name,
            " ".join(key.scopes),
            stored.digest.hex(),
            key.created_at_ms,
            key.expires_at_ms,
            stored.revision,
        ),
    )


def change_key(session: Session, stored: StoredKey) -> None:
    """Store what rotation or revocation changed."""
    key, previous = stored.key, stored.previous_digest
    session.execute(
        """
        UPDATE keys SET digest = ?, previous_digest = ?, rotated_at_ms = ?,
               previous_valid_until_ms = ?, revoked_at_ms = ?, last_used_ms = ?, revision = ?
        WHERE id = ?
        """,
        (
            stored.digest.hex(),
            None if previous is None else previous.hex(),
            key.rotated_at_ms,
            key.previous_valid_until_ms,
            key.revoked_at_ms,
            key.last_used_ms,
            stored.revision,
            key.id,
        ),
    )


def keys_without_role(database: Database) -> list[str]:
    """Return the ids of the keys from when `admin` acted for every tenant, oldest first."""
    rows = database.query("SELECT id FROM keys WHERE has_role = 0 ORDER BY id")
    return [id for (id,) in rows]


def change_scopes(session: Session, stored: StoredKey) -> None:
    """Store what a key may do from now on."""
    session.execute(
        "UPDATE keys SET scopes = ?, revision = ? WHERE id = ?",
        (" ".join(stored.key.scopes), stored.revision, stored.key.id),
    )


def mark_roles(session: Session) -> None:
    """Take note that every key has the scopes of its role."""
    session.execute("UPDATE keys SET has_role = 1 WHERE has_role = 0")


def set_last_used(session: Session, used: list[tuple[str, int]]) -> None:
    """Store when keys were last used, given as (key id, time); never moves a time back."""
    session.executemany(
        "UPDATE keys SET last_used_ms = ? WHERE id = ? AND (last_used_ms IS NULL OR last_used_ms < ?)",
        [(at_ms, key_id, at_ms) for key_id, at_ms in used],
    )


def add_experiment(session: Session, tenant_id: str, experiment_id: str, *, body: str) -> None:
    """Store a new experiment at revision 1."""
    session.execute(
        "INSERT INTO experiments (tenant_id, id, revision, body, told) VALUES (?, ?, 1, ?, 1)",
        (tenant_id, experiment_id, body),
    )


def change_experiment(
    session: Session, tenant_id: str, experiment_id: str, *, revision: int, body: str
) -> bool:
    """Store revision `revision`; False, changing nothing, when the stored one is not its predecessor."""
    changed = session.execute(
        "UPDATE experiments SET revision = ?, body = ?, told = ? "
        "WHERE tenant_id = ? AND id = ? AND revision = ?",
        (revision, body, revision, tenant_id, experiment_id, revision - 1),
    )
    return changed == 1


def untold_experiments(session: Session) -> list[str]:
    """Return the experiments that the event log was never told of, as they were stored."""
    rows = session.query("SELECT body FROM experiments WHERE told = 0 ORDER BY tenant_id, id")
    return [body for (body,) in rows]


def mark_told(session: Session) -> None:
    """Take note that the outbox holds facts about every experiment and key."""
    session.execute("UPDATE experiments SET told = revision WHERE told = 0")
    session.execute("UPDATE keys SET revision = 1 WHERE revision = 0")


def add_to_outbox(session: Session, rows: Sequence[tuple[str, int, bytes]]) -> None:
    """Store facts, given as (event id, schema version, body), behind those that wait."""
    session.execute("UPDATE outbox_counter SET seq = seq + ?", (len(rows),))
    last = int(session.query("SELECT seq FROM outbox_counter")[0][0])
    session.executemany(
        "INSERT INTO outbox VALUES (?, ?, ?, ?)",
        [(seq, *row) for seq, row in enumerate(rows, last - len(rows) + 1)],
    )


def outbox(database: Database, *, limit: int) -> list[Waiting]:
    """Return the facts that wait, oldest first."""
    rows = database.query(
        "SELECT seq, event_id, version, body FROM outbox ORDER BY seq LIMIT ?", (limit,)
    )
    return [Waiting(*row) for row in rows]


def clear_outbox(session: Session, *, through: int) -> None:
    """Drop the facts that the event log has."""
    session.execute("DELETE FROM outbox WHERE seq <= ?", (through,))


def _key(
    id: str, tenant_id: str, name: str, scopes: str, digest: str, previous: str | None, *times: Any
) -> StoredKey:
    created, rotated, previous_until, expires, revoked, used, revision = times
    key = Key(
        id=id,
        tenant_id=tenant_id,
        name=name,
        scopes=checked_scopes(scopes.split()),
        prefix=prefix_of(id),
        created_at_ms=created,
        rotated_at_ms=rotated,
        previous_valid_until_ms=previous_until,
        expires_at_ms=expires,
        revoked_at_ms=revoked,
        last_used_ms=used,
    )
    return StoredKey(
        key, bytes.fromhex(digest), bytes.fromhex(previous) if previous else None, revision
    )
