"""The quarantine: items that intake refused, with the reason, so that they can be looked at, repaired and sent again.

Bodies are kept without personal data: declared free text is redacted, user ids and addresses are pseudonyms. So an
item can still be replayed, and erasing a person finds what is about them. A body that is too large is cut, which
ends its chance of a replay.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema
from loopwright.people import Person
from loopwright.people.pseudonyms import address_pseudonym
from loopwright.texts.redact import Redactor

from .draft import FREE_TEXT

BODY_BYTES: Final = 65_536
KEPT_CHARS: Final = 1024
"""How much is kept of a string in a body that is too large."""

CAPACITY: Final = 10_000
"""Items per tenant; more are dropped and counted."""

PAGE: Final = 100

PERSON: Final = "person:"
ADDRESS: Final = "address:"
"""How a pseudonym looks where a user id or an address stood."""

USER_MEMBERS: Final = frozenset({"user_id", "user", "customer_id", "reviewer"})
ADDRESS_MEMBERS: Final = frozenset({"ip_address"})

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE quarantine (
        id TEXT PRIMARY KEY,
        tenant_id TEXT NOT NULL,
        received_ms BIGINT NOT NULL,
        path TEXT NOT NULL,
        stage TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        persons TEXT NOT NULL,
        whole BIGINT NOT NULL,
        body TEXT NOT NULL
    )
    """,
        "CREATE INDEX quarantine_by_tenant ON quarantine (tenant_id, id)",
        """
    CREATE TABLE quarantine_dropped (
        tenant_id TEXT PRIMARY KEY,
        dropped BIGINT NOT NULL
    )
    """,
    ),
)
"""Scripts for `apply_schema`, oldest first."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One refused item."""

    id: str
    received_ms: int
    path: str
    stage: str
    """The stage of intake that refused it."""
    code: str
    reason: str
    is_whole: bool = True
    """Whether the body is complete, so that it can be replayed."""
    persons: tuple[str, ...] = ()
    body: Any = None


class Page(msgspec.Struct, frozen=True):
    """Refused items, oldest first; `next_cursor` asks for more."""

    items: list[Held]
    held: int
    dropped: int
    """Items that were refused while the quarantine was full, and are lost."""
    next_cursor: str | None = None


class Quarantine:
    """Refused items of every tenant. Safe to use from several threads."""

    def __init__(self, database: Database, *, capacity: int = CAPACITY) -> None:
        apply_schema(database, "quarantine", SCHEMA)
        self._database = database
        self._capacity = capacity
        self._lock = threading.Lock()

    def hold(self, tenant_id: str, items: Sequence[Held]) -> int:
        """Keep refused items while there is room; return how many were dropped."""
        with self._lock, self._database.transaction() as session:
            rows = session.query(
                "SELECT COUNT(*) FROM quarantine WHERE tenant_id = ?", (tenant_id,)
            )
            room = max(self._capacity - int(rows[0][0]), 0)
            session.executemany(
                "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(tenant_id, held) for held in items[:room]],
            )
            dropped = len(items) - min(room, len(items))
            if dropped:
                session.execute(
                    "INSERT INTO quarantine_dropped VALUES (?, ?) ON CONFLICT (tenant_id) "
                    "DO UPDATE SET dropped = quarantine_dropped.dropped + excluded.dropped",
                    (tenant_id, dropped),
                )
        return dropped

    def list(self, tenant_id: str, *, after: str = "", limit: int = PAGE) -> Page:
        """Return items beyond the cursor `after`, without their bodies."""
        rows = self._database.query(
            f"{_COLUMNS} FROM quarantine WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?",
            (tenant_id, after, limit + 1),
        )
        held = self._database.query(
            "SELECT COUNT(*) FROM quarantine WHERE tenant_id = ?", (tenant_id,)
        )
        dropped = self._database.query(
            "SELECT dropped FROM quarantine_dropped WHERE tenant_id = ?", (tenant_id,)
        )
        items = [_held(row, None) for row in rows[:limit]]
        cursor = items[-1].id if len(rows) > limit else None
        return Page(items, int(held[0][0]), int(dropped[0][0]) if dropped else 0, cursor)

    def read(self, tenant_id: str, id: str) -> Held:
        """Return one item with its body; raises `NotFound`."""
        rows = self._database.query(
            f"{_COLUMNS}, body FROM quarantine WHERE tenant_id = ? AND id = ?", (tenant_id, id)
        )
        if not rows:
            raise NotFound(f"there is no refused item '{id}'; it was replayed or discarded")
        return _held(rows[0][:-1], rows[0][-1])

    def discard(self, tenant_id: str, id: str) -> None:
        """Delete one item; raises `NotFound`."""
        with self._lock, self._database.transaction() as session:
            gone = session.execute(
                "DELETE FROM quarantine WHERE tenant_id = ? AND id = ?", (tenant_id, id)
            )
        if not gone:
            raise NotFound(f"there is no refused item '{id}'; it was replayed or discarded")

    def forget(self, tenant_id: str, person: str) -> int:
        """Delete what is about a person; return how many items that were."""
        with self._lock, self._database.transaction() as session:
            return session.execute(
                "DELETE FROM quarantine WHERE tenant_id = ? AND persons LIKE ?",
                (tenant_id, f"%{person}%"),
            )


_COLUMNS: Final = "SELECT id, received_ms, path, stage, code, reason, persons, whole"


def _row(tenant_id: str, held: Held) -> tuple[Any, ...]:
    body = _encode(held.body)
    return (
        held.id,
        tenant_id,
        held.received_ms,
        held.path,
        held.stage,
        held.code,
        held.reason,
        ",".join(held.persons),
        int(held.is_whole),
        body,
    )


def _held(row: tuple[Any, ...], body: str | None) -> Held:
    id, received_ms, path, stage, code, reason, persons, whole = row
    return Held(
        id=id,
        received_ms=received_ms,
        path=path,
        stage=stage,
        code=code,
        reason=reason,
        is_whole=bool(whole),
        persons=tuple(name for name in persons.split(",") if name),
        body=None if body is None else json.loads(body),
    )


class Shielded(msgspec.Struct, frozen=True):
    """A body without personal data, who it is about, and whether all of it is there."""

    body: Any
    persons: tuple[str, ...]
    is_whole: bool


def shield(
    item: Any,
    *,
    key: bytes,
    redactor: Redactor,
    resolve: Callable[[Sequence[str]], Mapping[str, Person]],
) -> Shielded:
    """Return `item` as it may be kept."""
    is_whole = len(_encode(item)) <= BODY_BYTES
    if not is_whole:
        item = _cut(item)
        if len(_encode(item)) > BODY_BYTES:
            item = {"cut": f"{type(item).__name__} larger than {BODY_BYTES} bytes"}
    persons = resolve(_users(item))
    shielded = _shield(item, "", key=key, redactor=redactor, persons=persons)
    return Shielded(shielded, tuple(sorted({p.id for p in persons.values()})), is_whole)


def _encode(body: Any) -> str:
    # Not msgspec: a refused body may hold integers of more than 64 bits.
    return json.dumps(body, ensure_ascii=False)


def known_person(user_id: str) -> str | None:
    """Return the pseudonym in a user id of a kept body."""
    return user_id[len(PERSON) :] if user_id.startswith(PERSON) else None


def known_address(address: str) -> str | None:
    """Return the pseudonym in an address of a kept body."""
    return address[len(ADDRESS) :] if address.startswith(ADDRESS) else None


def _users(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [v for name, v in value.items() if name in USER_MEMBERS and isinstance(v, str) and v]
        return own + [user for inner in value.values() for user in _users(inner)]
    return [user for inner in value for user in _users(inner)] if isinstance(value, list) else []


def _shield(
    value: Any, name: str, *, key: bytes, redactor: Redactor, persons: Mapping[str, Person]
) -> Any:
    if isinstance(value, str):
        if name in USER_MEMBERS and value in persons:
            return PERSON + persons[value].id
        if name in ADDRESS_MEMBERS:
            return ADDRESS + address_pseudonym(key, value)
        return redactor.redact(value, key).text if name in _TEXTS else value
    if isinstance(value, dict):
        return {
            inner: _shield(v, inner, key=key, redactor=redactor, persons=persons)
            for inner, v in value.items()
        }
    if isinstance(value, list):
        return [_shield(v, name, key=key, redactor=redactor, persons=persons) for v in value]
    return value


_TEXTS: Final = FREE_TEXT | {"before", "after"}


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= KEPT_CHARS else f"{value[:KEPT_CHARS]}…"
    if isinstance(value, dict):
        return {name: _cut(inner) for name, inner in value.items()}
    return [_cut(inner) for inner in value] if isinstance(value, list) else value


def replayable(held: Held) -> Any:
    """Return the body of an item to run through intake again; raises `Invalid` when it was cut."""
    if not held.is_whole:
        raise Invalid(
            "the item was too large to be kept whole, so it cannot be replayed; send it again, shorter"
        )
    return held.body
