"""The catalog's tables. Times are milliseconds since the epoch; digests are hexadecimal text."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from loopwright.core.ports import Database, Session

from .keys import Key, checked_scopes, prefix_of
from .tenants import Tenant

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
)
"""Scripts for `apply_schema`, oldest first."""


class StoredKey(msgspec.Struct, frozen=True):
    """A key with the digests that prove it."""

    key: Key
    digest: bytes
    previous_digest: bytes | None = None


def tenants(database: Database) -> list[Tenant]:
    """Return every tenant."""
    rows = database.query("SELECT id, name, created_at_ms FROM tenants ORDER BY id")
    return [Tenant(id=id, name=name, created_at_ms=at) for id, name, at in rows]


def keys(database: Database) -> list[StoredKey]:
    """Return every key, revoked ones too."""
    rows = database.query(
        """
        SELECT id, tenant_id, name, scopes, digest, previous_digest, created_at_ms, rotated_at_ms,
               previous_valid_until_ms, expires_at_ms, revoked_at_ms, last_used_ms
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


def add_key(session: Session, stored: StoredKey) -> None:
    """Store a new key."""
    key = stored.key
    session.execute(
        """
        INSERT INTO keys (id, tenant_id, name, scopes, digest, created_at_ms, expires_at_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
        (
            key.id,
            key.tenant_id,
            key.name,
            " ".join(key.scopes),
            stored.digest.hex(),
            key.created_at_ms,
            key.expires_at_ms,
        ),
    )


def change_key(session: Session, stored: StoredKey) -> None:
    """Store what rotation or revocation changed."""
    key, previous = stored.key, stored.previous_digest
    session.execute(
        """
        UPDATE keys SET digest = ?, previous_digest = ?, rotated_at_ms = ?,
               previous_valid_until_ms = ?, revoked_at_ms = ?, last_used_ms = ?
        WHERE id = ?
        """,
        (
            stored.digest.hex(),
            None if previous is None else previous.hex(),
            key.rotated_at_ms,
            key.previous_valid_until_ms,
            key.revoked_at_ms,
            key.last_used_ms,
            key.id,
        ),
    )


def set_last_used(session: Session, used: list[tuple[str, int]]) -> None:
    """Store when keys were last used, given as (key id, time); never moves a time back."""
    session.executemany(
        "UPDATE keys SET last_used_ms = ? WHERE id = ? AND (last_used_ms IS NULL OR last_used_ms < ?)",
        [(at_ms, key_id, at_ms) for key_id, at_ms in used],
    )


def add_experiment(session: Session, tenant_id: str, experiment_id: str, *, body: str) -> None:
    """Store a new experiment at revision 1."""
    session.execute(
        "INSERT INTO experiments (tenant_id, id, revision, body) VALUES (?, ?, 1, ?)",
        (tenant_id, experiment_id, body),
    )


def change_experiment(
    session: Session, tenant_id: str, experiment_id: str, *, revision: int, body: str
) -> bool:
    """Store revision `revision`; False, changing nothing, when the stored one is not its predecessor."""
    changed = session.execute(
        "UPDATE experiments SET revision = ?, body = ? WHERE tenant_id = ? AND id = ? AND revision = ?",
        (revision, body, tenant_id, experiment_id, revision - 1),
    )
    return changed == 1


def _key(
    id: str, tenant_id: str, name: str, scopes: str, digest: str, previous: str | None, *times: Any
) -> StoredKey:
    created, rotated, previous_until, expires, revoked, used = times
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
    return StoredKey(key, bytes.fromhex(digest), bytes.fromhex(previous) if previous else None)
