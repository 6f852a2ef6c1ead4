"""Raw copies: items as they came in, kept when redaction changed them, so that a wrong redaction can be found and mended.

Off by default. Copies are encrypted in a separate database for a limited time, and the event log records each read
before the copy is shown. A copy's key is derived from the key of its person, which the people's database holds
until the person is erased: after that no copy can be decrypted, not even one in a backup.

An item that redaction left unchanged needs no copy, because the log has its texts as they came.

A copy is encrypted with AES-256-GCM (NIST SP 800-38D) under a key of its own, derived by HKDF-Expand (RFC 5869). The
name of the copy, its people and its times go into both, so a row that was moved or changed does not open.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from loopwright.core.clock import DAY_MS, Clock
from loopwright.core.errors import (
    LoopError,
    RawDamaged,
    RawErased,
    RawExpired,
    RawNotKept,
)
from loopwright.core.events import Changed
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

from .consent import Append
from .people import People

FORMAT: Final = 1
"""How copies are encrypted; kept with each."""

# 96 bits, which GCM takes as they are; other lengths are hashed first (SP 800-38D, section 7.1).
NONCE_BYTES: Final = 12

SWEPT: Final = 2_000
"""Copies that one sweep deletes at most, so that it is done in a moment."""

SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
    CREATE TABLE raw_copies (
        tenant_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        path TEXT NOT NULL,
        person TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        received_ms BIGINT NOT NULL,
        expires_ms BIGINT NOT NULL,
        nonce TEXT NOT NULL,
        ciphertext BLOB NOT NULL,
        PRIMARY KEY (tenant_id, event_id)
    )
    """,
        "CREATE INDEX raw_copies_by_person ON raw_copies (tenant_id, person)",
        "CREATE INDEX raw_copies_by_reviewer ON raw_copies (tenant_id, reviewer)",
        "CREATE INDEX raw_copies_by_end ON raw_copies (expires_ms)",
    ),
)
"""Scripts for `apply_schema`, oldest first. An erased copy keeps its row, emptied, until its time ends."""

OFF: Final = "raw copies are off and there are none; the setting raw_copies makes them from then on"

logger = logging.getLogger(__name__)


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted item from which redaction took something out, as it came."""

    first: int
    """Place of its first fact among those of the body."""
    event_id: str
    path: str
    person: str = ""
    """The pseudonyms of its user and of its reviewer; empty when there is none."""
    reviewer: str = ""
    received_ms: int
    item: Any
    """The bytes that came, or the objects that JSON became."""


class RawCopy(msgspec.Struct, frozen=True):
    """An item as it came in on `path`, until its time to live ends."""

    event_id: str
    path: str
    received_ms: int
    expires_ms: int
    item: Any


class RawCopyCount(msgspec.Struct, frozen=True):
    """How many raw copies a database holds, and how many of them have expired and wait to be swept."""

    kept: int
    expired: int


class RawCopies:
    """Raw copies of every tenant. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        *,
        people: People,
        clock: Clock,
        ttl_days: int,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        scrub: Callable[[], object] = lambda: None,
    ) -> None:
        # Imported where it is needed: most servers keep no raw copies.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        apply_schema(database, "raw_copies", SCHEMA)
        self.counts: dict[str, int] = dict.fromkeys(
            ("kept", "failed", "read", "swept", "erased"), 0
        )
        """Copies by what was done with them, since the start."""
        self._now_ms = clock.now_ms
        self._database = database
        self._people = people
        self._ttl_ms = ttl_days * DAY_MS
        self._random_bytes = random_bytes
        self._scrub = scrub
        self._cipher, self._wrong_seal = AESGCM, InvalidTag
        self._is_failing = False
        # `+=` on a dict's value is a read and a write: two threads can lose a count.
        self._counting = threading.Lock()

    def keep(
        self, tenant_id: str, originals: Sequence[Original], *, duplicates: Sequence[bool]
    ) -> None:
        """Keep copies of the items whose first fact is new.

        Their facts are already in the log, so a copy that cannot be kept is counted and logged, never an error.
        """
        # A duplicate has its copy already, or had it until its time ended.
        fresh = [original for original in originals if not duplicates[original.first]]
        if not fresh:
            return
        try:
            rows = self._sealed(tenant_id, fresh)
            with self._database.transaction() as session:
                kept = session.executemany(
                    "INSERT INTO raw_copies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (tenant_id, event_id) DO NOTHING",
                    rows,
                )
        except LoopError as error:
            self.count("failed", len(fresh))
            # Once, not for each item while a disk is full.
            if not self._is_failing:
                logger.error("raw copies cannot be kept", extra={"reason": error.message})
            self._is_failing = True
            return
        self._is_failing = False
        self.count("kept", kept)

    def read(self, tenant_id: str, event_id: str) -> RawCopy:
        """Return a copy without recording that it was read; `look` records it and is what routes call.

        Raises `RawNotKept`, `RawExpired` or `RawErased`, and `RawDamaged` when the row is not as it was written.
        """
        rows = self._database.query(
            "SELECT * FROM raw_copies WHERE tenant_id = ? AND event_id = ?", (tenant_id, event_id)
        )
        if not rows:
            raise RawNotKept(
                f"there is no raw copy of {event_id!r}: one is kept, for a limited time, only of feedback from "
                "which redaction took something out while raw copies were on"
            )
        *about, nonce, ciphertext = rows[0]
        path, person, reviewer, received_ms, expires_ms = about[3:]
        # The time decides, not the sweep: a copy that waits to be swept is no longer shown.
        if expires_ms <= self._now_ms():
            raise RawExpired(
                f"the raw copy of {event_id!r} has passed its time to live; read the redacted feedback instead",
                expires_ms=expires_ms,
            )
        named = _people_of(person, reviewer)
        keys = [self._people.person_key(tenant_id, name) for name in named]
        # Either is enough: an emptied row, or a destroyed key where the row came back from a backup.
        if not ciphertext or None in keys:
            raise RawErased(
                f"the raw copy of {event_id!r} is gone for good: the person was erased, or withdrew the consent "
                "to store"
            )
        key, context = self._key_of(about, [key for key in keys if key is not None])
        try:
            item = self._cipher(key).decrypt(bytes.fromhex(nonce), ciphertext, context)
        # A row that was edited may fail in other ways than its seal: hex, types, lengths.
        except (self._wrong_seal, TypeError, ValueError):
            raise RawDamaged(
                f"the raw copy of {event_id!r} does not match its seal: it was changed or moved; find out by whom, "
                "and restore raw.db from a backup"
            ) from None
        return RawCopy(event_id, path, received_ms, expires_ms, msgspec.Raw(item))

    def look(self, append: Append, *, tenant_id: str, event_id: str, actor: str) -> RawCopy:
        """Return a copy after the log has recorded durably that `actor` reads it; raises like `read`."""
        copy = self.read(tenant_id, event_id)
        # Recorded before the copy is returned: a read that the log cannot record does not happen.
        append([Changed(self._now_ms(), tenant_id, actor, f"raw/{event_id}", "read")], [None])
        self.count("read")
        return copy

    def count(self, result: str, n: int = 1) -> None:
        """Add `n` copies to the count of `result`."""
        with self._counting:
            self.counts[result] += n

    def forget(self, tenant_id: str, person: str) -> int:
        """Destroy the copies of what a person said or judged; return how many that were."""
        with self._database.transaction() as session:
            gone = session.execute(
                # Emptied, not deleted: the row tells "erased" from "never kept" until its time ends.
                "UPDATE raw_copies SET person = '', reviewer = '', nonce = '', ciphertext = ? "
                "WHERE tenant_id = ? AND (person = ? OR reviewer = ?)",
                (b"", tenant_id, person, person),
            )
        # Freed pages keep the old bytes until they are overwritten.
        self._scrub()
        self.count("erased", gone)
        return gone

    def sweep(self, *, limit: int = SWEPT) -> int:
        """Delete at most `limit` copies past their time to live, oldest first; return how many."""
        with self._database.transaction() as session:
            gone = session.execute(
                # By a sub-select: PostgreSQL has no DELETE with LIMIT.
                "DELETE FROM raw_copies WHERE (tenant_id, event_id) IN (SELECT tenant_id, event_id "
                "FROM raw_copies WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)",
                (self._now_ms(), limit),
            )
        self.count("swept", gone)
        return gone

    def _sealed(self, tenant_id: str, originals: Sequence[Original]) -> list[tuple[Any, ...]]:
        """Return the rows of those originals whose people exist."""
        people = {name for o in originals for name in _people_of(o.person, o.reviewer)}
        # One transaction for all people of the request: each would cost a sync of the disk.
        keys = self._people.person_keys(tenant_id, people)
        rows: list[tuple[Any, ...]] = []
        for o in originals:
            named = _people_of(o.person, o.reviewer)
            held = [keys[name] for name in named if name in keys]
            if len(held) < len(named):
                # Erased while the feedback was on its way.
                continue
            times = (o.received_ms, o.received_ms + self._ttl_ms)
            about = (tenant_id, o.event_id, FORMAT, o.path, o.person, o.reviewer, *times)
            key, context = self._key_of(about, held)
            nonce = self._random_bytes(NONCE_BYTES)
            ciphertext = self._cipher(key).encrypt(nonce, _json(o.item), context)
            rows.append((*about, nonce.hex(), ciphertext))
        return rows

    def _key_of(self, about: Sequence[Any], held: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Return the key of one copy, and its associated data: all else in its row.

        Each copy has its own key, so no nonce is ever used twice under one key.
        """
        # The whole row but its nonce and content: a row that is moved or renamed gets another key.
        context = msgspec.msgpack.encode(about)
        root = b"".join(held) or _key_without_person(self._people.key(about[0]))
        # HKDF-Expand for one block (RFC 5869, section 2.3): info, then the counter 1.
        return hmac.digest(root, b"raw copy\0" + context + b"\1", "sha256"), context


def census(database: Database, *, now_ms: int) -> RawCopyCount:
    """Count the copies in a database."""
    rows = database.query(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN expires_ms <= ? THEN 1 ELSE 0 END), 0) "
        # Erased copies have no nonce.
        "FROM raw_copies WHERE nonce <> ''",
        (now_ms,),
    )
    return RawCopyCount(*map(int, rows[0]))


def _people_of(person: str, reviewer: str) -> list[str]:
    return [name for name in dict.fromkeys((person, reviewer)) if name]


def _key_without_person(tenant_key: bytes) -> bytes:
    """Return the key for copies about no known person; `person=` keeps it apart from other uses of the tenant's key."""
    return blake2b(key=tenant_key, digest_size=32, person=b"raw copies").digest()


def _json(item: Any) -> bytes:
    # Not msgspec: embedded items may hold lone surrogates, which it refuses.
    return bytes(item) if isinstance(item, msgspec.Raw) else json.dumps(item).encode()
