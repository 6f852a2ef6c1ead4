"""Manifests as rows: a data set is there once its row is, and its row is written last."""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.dataset import Dataset
from loopwright.core.errors import NotFound
from loopwright.core.ports import Database, Session

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE datasets (
        tenant_id TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        built_at_ms BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
        "CREATE INDEX datasets_by_time ON datasets (tenant_id, built_at_ms)",
    ),
)
"""Scripts for `apply_schema`, oldest first."""

_DIGITS: Final = frozenset("0123456789abcdef")
_decode = msgspec.json.Decoder(Dataset).decode


def add(session: Session, dataset: Dataset) -> bool:
    """Keep a manifest; False when the same one is there already."""
    return bool(
        session.execute(
            "INSERT INTO datasets VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                dataset.tenant_id,
                dataset.id,
                dataset.name,
                dataset.built_at_ms,
                msgspec.json.encode(dataset).decode(),
            ),
        )
    )


def change(session: Session, dataset: Dataset) -> None:
    """Replace a manifest, once its shards are gone."""
    session.execute(
        "UPDATE datasets SET body = ? WHERE tenant_id = ? AND id = ?",
        (msgspec.json.encode(dataset).decode(), dataset.tenant_id, dataset.id),
    )


def get(database: Database, tenant_id: str, id: str) -> Dataset:
    """Return a manifest by its id, or by the beginning of it if only one begins so. Raises `NotFound`."""
    # Ids are hexadecimal digits, and nothing else may reach the pattern.
    is_one = id != "" and set(id) <= _DIGITS
    rows = (
        database.query(
            "SELECT body FROM datasets WHERE tenant_id = ? AND id LIKE ? LIMIT 2",
            (tenant_id, f"{id}%"),
        )
        if is_one
        else []
    )
    if not rows:
        raise NotFound(f"there is no data set {id!r}; build one first")
    if len(rows) > 1:
        raise NotFound(f"several data sets begin with {id!r}; give more of the id")
    return _decode(rows[0][0])


def newest(
    database: Database, tenant_id: str, *, name: str | None, limit: int
) -> tuple[Dataset, ...]:
    """Return a tenant's manifests, newest first."""
    rows = database.query(
        "SELECT body FROM datasets WHERE tenant_id = ? AND (? = '' OR name = ?) "
        "ORDER BY built_at_ms DESC, id LIMIT ?",
        (tenant_id, name or "", name or "", limit),
    )
    return tuple(_decode(body) for (body,) in rows)
