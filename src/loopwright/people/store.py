"""The tables of people: the key of each tenant, the person of each user id, and the key of each person.

They belong in a file of their own that is never part of a backup of the log, or an erased person would come back
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from loopwright.core.feedback import CONSENT_SCOPES, ConsentScope
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

KEY_BYTES: Final = 32
ASKED_AT_ONCE: Final = 500
"""People in one query: engines bound the number of parameters."""

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE tenant_secrets (
        tenant_id TEXT PRIMARY KEY,
        secret TEXT NOT NULL
    )
    """,
        """
    CREATE TABLE people (
        tenant_id TEXT NOT NULL,
        lookup TEXT NOT NULL,
        person TEXT NOT NULL,
        consent TEXT,
        since_ms BIGINT NOT NULL,
        PRIMARY KEY (tenant_id, lookup)
    )
    """,
        "CREATE UNIQUE INDEX people_by_id ON people (tenant_id, person)",
    ),
    (
        """
    CREATE TABLE person_keys (
        tenant_id TEXT NOT NULL,
        person TEXT NOT NULL,
        secret TEXT NOT NULL,
        PRIMARY KEY (tenant_id, person)
    )
    """,
    ),
    ("CREATE INDEX people_by_since ON people (tenant_id, since_ms)",),
    (
        """
    CREATE TABLE erasures (
        tenant_id TEXT NOT NULL,
        person TEXT NOT NULL,
        lookup TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (tenant_id, person)
    )
    """,
    ),
)
"""Scripts for `apply_schema`, oldest first."""


class Person(msgspec.Struct, frozen=True, gc=False):
    """A pseudonym, and the consent that the person gave themselves; None when they never did."""

    id: str
    consent: tuple[ConsentScope, ...] | None = None
    since_ms: int = 0


class PeopleStore:
    """Rows of people and keys. Every write is one transaction that is safe beside those of other processes."""

    def __init__(self, database: Database) -> None:
        apply_schema(database, "people", SCHEMA)
        self._database = database

    def tenant_key(self, tenant_id: str, fresh: bytes) -> bytes:
        """Return the tenant's key; `fresh` becomes it when there is none."""
        with self._database.transaction() as session:
            session.execute(
                "INSERT INTO tenant_secrets VALUES (?, ?) ON CONFLICT (tenant_id) DO NOTHING",
                (tenant_id, fresh.hex()),
            )
            rows = session.query(
                "SELECT secret FROM tenant_secrets WHERE tenant_id = ?", (tenant_id,)
            )
        return bytes.fromhex(rows[0][0])

    def person_key(self, tenant_id: str, person: str) -> bytes | None:
        """Return the key of a person; None when it was destroyed or never made."""
        rows = self._database.query(
            "SELECT secret FROM person_keys WHERE tenant_id = ? AND person = ?", (tenant_id, person)
        )
        return bytes.fromhex(rows[0][0]) if rows else None

    def add_person_keys(self, tenant_id: str, keys: Mapping[str, bytes]) -> None:
        """Add keys for those of these people who exist and have none."""
        with self._database.transaction() as session:
            session.executemany(
                "INSERT INTO person_keys SELECT tenant_id, person, ? FROM people "
                "WHERE tenant_id = ? AND person = ? ON CONFLICT (tenant_id, person) DO NOTHING",
                [(key.hex(), tenant_id, person) for person, key in keys.items()],
            )

    def find(self, tenant_id: str, *, lookup: str, person: str) -> Person | None:
        """Return the person with this digest of a user id, or with this pseudonym."""
        rows = self._database.query(
            "SELECT person, consent, since_ms FROM people WHERE tenant_id = ? AND (lookup = ? OR person = ?)",
            (tenant_id, lookup, person),
        )
        return _person(*rows[0]) if rows else None

    def lookup(self, tenant_id: str, person: str) -> str | None:
        """Return the digest by which a person is found."""
        rows = self._database.query(
            "SELECT lookup FROM people WHERE tenant_id = ? AND person = ?", (tenant_id, person)
        )
        return str(rows[0][0]) if rows else None

    def begin_erasure(self, tenant_id: str, person: str, *, lookup: str, body: str) -> None:
        """Note an erasure as begun, unless it is."""
        with self._database.transaction() as session:
            session.execute(
                # The first request counts: a repetition must finish under the same key, or digests would differ.
                "INSERT INTO erasures VALUES (?, ?, ?, ?) ON CONFLICT (tenant_id, person) DO NOTHING",
                (tenant_id, person, lookup, body),
            )

    def erasures(self) -> list[str]:
        """Return the erasures that are begun and not finished."""
        return [str(body) for (body,) in self._database.query("SELECT body FROM erasures")]

    def erasure(self, tenant_id: str, *, lookup: str, person: str) -> str | None:
        """Return the unfinished erasure of the person with this digest or pseudonym."""
        rows = self._database.query(
            "SELECT body FROM erasures WHERE tenant_id = ? AND (lookup = ? OR person = ?)",
            (tenant_id, lookup, person),
        )
        return str(rows[0][0]) if rows else None

    def end_erasure(self, tenant_id: str, person: str) -> None:
        """Forget an erasure that is finished."""
        with self._database.transaction() as session:
            session.execute(
                "DELETE FROM erasures WHERE tenant_id = ? AND person = ?", (tenant_id, person)
            )

    def add(
        self, tenant_id: str, lookups: Mapping[str, str], *, new_id: Callable[[], str], now_ms: int
    ) -> dict[str, Person]:
        """Return the person behind each user id of `lookups` (user id to digest), adding those who are new."""
        found: dict[str, Person] = {}
        with self._database.transaction() as session:
            for user_id, lookup in lookups.items():
                session.execute(
                    # Insert, then read: of two processes that see a new user at once, both get the row that won.
                    "INSERT INTO people VALUES (?, ?, ?, NULL, ?) "
                    "ON CONFLICT (tenant_id, lookup) DO NOTHING",
                    (tenant_id, lookup, new_id(), now_ms),
                )
                rows = session.query(
                    "SELECT person, consent, since_ms FROM people "
                    "WHERE tenant_id = ? AND lookup = ?",
                    (tenant_id, lookup),
                )
                found[user_id] = _person(*rows[0])
        return found

    def since(self, tenant_id: str, persons: Iterable[str]) -> dict[str, int]:
        """Return when each of these people was first seen (ms); unknown and erased ones are left out."""
        found: dict[str, int] = {}
        wanted = list(dict.fromkeys(persons))
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            chunk = wanted[start : start + ASKED_AT_ONCE]
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT person, since_ms FROM people WHERE tenant_id = ? AND person IN ({marks})"  # noqa: S608 - only question marks
            found.update(self._database.query(sql, (tenant_id, *chunk)))
        return found

    def first_since(self, tenant_id: str) -> int | None:
        """Return when the first of a tenant's people was seen (ms); None when it has none."""
        rows = self._database.query(
            "SELECT MIN(since_ms) FROM people WHERE tenant_id = ?", (tenant_id,)
        )
        return None if rows[0][0] is None else int(rows[0][0])

    def set_consent(self, tenant_id: str, person: str, scopes: Sequence[ConsentScope]) -> None:
        """Store the consent of a person."""
        with self._database.transaction() as session:
            session.execute(
                "UPDATE people SET consent = ? WHERE tenant_id = ? AND person = ?",
                (",".join(scopes), tenant_id, person),
            )

    def delete(self, tenant_id: str, person: str) -> bool:
        """Delete a person and their key in one transaction; False when there was no such person."""
        with self._database.transaction() as session:
            session.execute(
                "DELETE FROM person_keys WHERE tenant_id = ? AND person = ?",
                (tenant_id, person),
            )
            gone = session.execute(
                "DELETE FROM people WHERE tenant_id = ? AND person = ?", (tenant_id, person)
            )
        return gone > 0


def _person(id: str, consent: str | None, since_ms: int) -> Person:
    if consent is None:
        return Person(id, None, since_ms)
    names = consent.split(",")
    return Person(id, tuple(scope for scope in CONSENT_SCOPES if scope in names), since_ms)
