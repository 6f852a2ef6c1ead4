"""People: who stands behind a pseudonym, kept apart from everything else so that it can be destroyed.

A person is a random id. What leads from a product's user id to it is one row: a keyed digest of the user id, made
with the tenant's key. The log and every table hold the random id only, so deleting that row cuts the link for
good, and the same user coming again is a new person.

Beside it stands a key per person, made when something about them is first encrypted, and destroyed with the row.

The tables belong in a file of their own that is never part of a backup of the log.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.digest import pseudonym
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.events import Consented, Erased, Fact
from loopwright.core.feedback import ConsentScope
from loopwright.core.ports import Committed, Database
from loopwright.core.schema import apply_schema

from .consent import checked

KEY_BYTES: Final = 32
REMEMBERED: Final = 100_000
ASKED_AT_ONCE: Final = 500
"""People in one query: engines bound the number of parameters."""

Append = Callable[[Sequence[Fact], Sequence[bytes | None]], Awaitable[Committed]]
CountRows = Callable[[str, str], Mapping[str, int]]
"""Returns, for a tenant and a person, how many rows of each table are about them."""
Forget = Callable[[str, str], int]
"""Deletes, for a tenant and a person, what is about them; returns how much that was."""

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
)
"""Scripts for `apply_schema`, oldest first."""


class Person(msgspec.Struct, frozen=True, gc=False):
    """A pseudonym, and the consent that the person gave themselves; None when they never did."""

    id: str
    consent: tuple[ConsentScope, ...] | None = None
    since_ms: int = 0


class Erasure(msgspec.Struct, frozen=True):
    """What went when a person was erased. `rows` counts by table; those rows are dropped by the projections.

    `quarantined` and `raw_copies` are deleted, and so is the key of the raw copies.
    """

    person: str
    erased_at_ms: int
    rows: dict[str, int]
    quarantined: int
    offset: int | None
    """Where the log says so; None when it had said so before."""
    raw_copies: int = 0


class People:
    """Pseudonyms and consents of every tenant. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        rewrite: Callable[[], object] = lambda: None,
    ) -> None:
        apply_schema(database, "people", SCHEMA)
        self._database = database
        self._rewrite = rewrite
        self.now_ms = clock.now_ms
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._known: dict[str, dict[str, Person]] = {}

    def key(self, tenant_id: str) -> bytes:
        """Return the tenant's secret key, made at its first use."""
        found = self._keys.get(tenant_id)
        if found is None:
            with self._lock:
                found = self._keys[tenant_id] = self._load_key(tenant_id)
        return found

    def person_key(self, tenant_id: str, person: str) -> bytes | None:
        """Return the key of what is encrypted about a person; None when it was destroyed or never made."""
        rows = self._database.query(
            "SELECT secret FROM person_keys WHERE tenant_id = ? AND person = ?", (tenant_id, person)
        )
        return bytes.fromhex(rows[0][0]) if rows else None

    def person_keys(self, tenant_id: str, persons: Iterable[str]) -> dict[str, bytes]:
        """Return the keys of those people who are there, made at their first use, in one transaction.

        They are not remembered: a key that is destroyed is gone from memory too.
        """
        wanted = list(persons)
        found = {person: self.person_key(tenant_id, person) for person in wanted}
        missing = [person for person, key in found.items() if key is None]
        if missing:
            with self._lock, self._database.transaction() as session:
                session.executemany(
                    "INSERT INTO person_keys SELECT tenant_id, person, ? FROM people "
                    "WHERE tenant_id = ? AND person = ? ON CONFLICT (tenant_id, person) DO NOTHING",
                    [(self._random_bytes(KEY_BYTES).hex(), tenant_id, p) for p in missing],
                )
            found |= {person: self.person_key(tenant_id, person) for person in missing}
        return {person: key for person, key in found.items() if key is not None}

    def resolve(self, tenant_id: str, user_ids: Iterable[str]) -> dict[str, Person]:
        """Return the person behind each user id; those who are new are made, durably, in one transaction."""
        known = self._known.get(tenant_id, _NONE)
        found: dict[str, Person] = {}
        missing: list[str] = []
        for user_id in user_ids:
            person = known.get(user_id)
            if person is None:
                missing.append(user_id)
            else:
                found[user_id] = person
        return found | self._make(tenant_id, missing) if missing else found

    def unknown(self, tenant_id: str, user_ids: Iterable[str]) -> list[str]:
        """Return those user ids whose person is not in memory: `resolve` will wait for the disk."""
        known = self._known.get(tenant_id, _NONE)
        return [user_id for user_id in user_ids if user_id not in known]

    def find(self, tenant_id: str, id: str) -> Person:
        """Return the person with this user id or pseudonym; raises `NotFound`."""
        rows = self._database.query(
            "SELECT person, consent, since_ms FROM people WHERE tenant_id = ? AND (lookup = ? OR person = ?)",
            (tenant_id, pseudonym(self.key(tenant_id), id), id),
        )
        if not rows:
            raise NotFound("there is no person with this id; it was never seen, or is erased")
        return _person(*rows[0])

    def since(self, tenant_id: str, persons: Iterable[str]) -> dict[str, int]:
        """Return when each of these people was first seen (ms); those erased or never seen are left out."""
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

    def consent(self, tenant_id: str, person: str, scopes: Sequence[ConsentScope]) -> None:
        """Remember what a person allows from now on."""
        with self._lock:
            with self._database.transaction() as session:
                session.execute(
                    "UPDATE people SET consent = ? WHERE tenant_id = ? AND person = ?",
                    (",".join(scopes), tenant_id, person),
                )
            self._forget_cached(tenant_id, person)

    def erase(self, tenant_id: str, person: str) -> bool:
        """Destroy the link from a user id to this person, and their key; False when it is not there."""
        with self._lock:
            with self._database.transaction() as session:
                session.execute(
                    "DELETE FROM person_keys WHERE tenant_id = ? AND person = ?",
                    (tenant_id, person),
                )
                gone = session.execute(
                    "DELETE FROM people WHERE tenant_id = ? AND person = ?", (tenant_id, person)
                )
            self._forget_cached(tenant_id, person)
        self._rewrite()
        return gone > 0

    def _load_key(self, tenant_id: str) -> bytes:
        with self._database.transaction() as session:
            session.execute(
                "INSERT INTO tenant_secrets VALUES (?, ?) ON CONFLICT (tenant_id) DO NOTHING",
                (tenant_id, self._random_bytes(KEY_BYTES).hex()),
            )
            rows = session.query(
                "SELECT secret FROM tenant_secrets WHERE tenant_id = ?", (tenant_id,)
            )
        return bytes.fromhex(rows[0][0])

    def _make(self, tenant_id: str, user_ids: Iterable[str]) -> dict[str, Person]:
        key = self.key(tenant_id)
        lookups = {user_id: pseudonym(key, user_id) for user_id in user_ids}
        made: dict[str, Person] = {}
        with self._lock:
            with self._database.transaction() as session:
                for user_id, lookup in lookups.items():
                    session.execute(
                        "INSERT INTO people VALUES (?, ?, ?, NULL, ?) "
                        "ON CONFLICT (tenant_id, lookup) DO NOTHING",
                        (tenant_id, lookup, self._random_bytes(16).hex(), self.now_ms()),
                    )
                    rows = session.query(
                        "SELECT person, consent, since_ms FROM people "
                        "WHERE tenant_id = ? AND lookup = ?",
                        (tenant_id, lookup),
                    )
                    made[user_id] = _person(*rows[0])
            if sum(map(len, self._known.values())) >= REMEMBERED:
                self._known.clear()
            self._known.setdefault(tenant_id, {}).update(made)
        return made

    def _forget_cached(self, tenant_id: str, person: str) -> None:
        known = self._known.get(tenant_id, {})
        for user_id in [user_id for user_id, found in known.copy().items() if found.id == person]:
            known.pop(user_id, None)


_NONE: Final[dict[str, Person]] = {}


def _person(id: str, consent: str | None, since_ms: int) -> Person:
    if consent is None:
        return Person(id, None, since_ms)
    return Person(id, checked([name for name in consent.split(",") if name]), since_ms)


def address_pseudonym(key: bytes, address: str) -> str:
    """Return what stands for a network address within one tenant."""
    return hmac.digest(
        key, b"address\0" + address.encode("utf-8", "surrogatepass"), "sha256"
    ).hex()[:32]


async def change_consent(
    people: People,
    append: Append,
    *,
    tenant_id: str,
    id: str,
    scopes: Sequence[str],
    at_ms: int,
    forget_raw: Forget | None = None,
) -> tuple[Person, int | None]:
    """Let a person's own word override the consent of all their facts; return them and the log's offset.

    The log hears it first: a crash in between leaves a word that is repeated, never one that is lost. Who does not
    let us store has no raw copies either, earlier ones included.
    """
    granted = checked(scopes)
    if not id:
        raise Invalid("the person's id is empty")
    try:
        person = people.find(tenant_id, id)
    except NotFound:
        person = people.resolve(tenant_id, [id])[id]
    event_id = _event_id(people.key(tenant_id), "consent", person.id, granted, at_ms)
    fact = Consented(event_id, at_ms, tenant_id, person.id, granted)
    committed = await append([fact], [None])
    people.consent(tenant_id, person.id, granted)
    if forget_raw is not None and "store" not in granted:
        await asyncio.to_thread(forget_raw, tenant_id, person.id)
    return Person(person.id, granted, person.since_ms), committed.first_offset


async def erase_person(
    people: People,
    append: Append,
    *,
    tenant_id: str,
    id: str,
    count_rows: CountRows,
    forget_quarantined: Forget,
    at_ms: int,
    forget_raw: Forget | None = None,
) -> Erasure:
    """Erase a person by user id or pseudonym and return what went; raises `NotFound`.

    The log hears it first, then the link is destroyed. A crash in between leaves the link: erase again.
    """
    person = people.find(tenant_id, id).id
    # All of this waits for the disk, so not where requests are served.
    rows = dict(sorted((await asyncio.to_thread(count_rows, tenant_id, person)).items()))
    event_id = _event_id(people.key(tenant_id), "erase", person)
    fact = Erased(event_id, at_ms, tenant_id, person, {"rows": rows})
    committed = await append([fact], [bytes(8) + bytes.fromhex(event_id)])
    quarantined = await asyncio.to_thread(forget_quarantined, tenant_id, person)
    raw = 0 if forget_raw is None else await asyncio.to_thread(forget_raw, tenant_id, person)
    await asyncio.to_thread(people.erase, tenant_id, person)
    return Erasure(person, at_ms, rows, quarantined, committed.first_offset, raw)


def _event_id(key: bytes, *parts: Any) -> str:
    said = msgspec.msgpack.encode(parts)
    return blake2b(said, key=key, digest_size=16).hexdigest()
