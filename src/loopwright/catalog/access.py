"""Which secrets are let in: the keys as memory holds them.

Readers take no lock. A key that is replaced makes its new secret known before it ends the old one, so a request
that arrives meanwhile meets at least one of them.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import NotFound, Unauthenticated
from loopwright.core.principal import Key, Principal, StoredKey

from .secret import digest_of

_MOST_RECENT: Final = 1024
"""Secrets in plain text that are cached, so that a busy one is not hashed at each request."""


class _Live:
    """What authentication needs to know of one secret."""

    __slots__ = ("last_used_ms", "principal", "valid_until_ms")

    def __init__(self, principal: Principal, valid_until_ms: float) -> None:
        self.principal = principal
        self.valid_until_ms = valid_until_ms
        self.last_used_ms = 0


class Access:
    """The API keys of one installation, ready to authenticate with."""

    def __init__(self, clock: Clock) -> None:
        self._now_ms = clock.now_ms
        self._keys: dict[str, StoredKey] = {}
        self._live: dict[bytes, _Live] = {}
        self._recent: dict[bytes | str, _Live] = {}

    def authenticate(self, raw_key: bytes | str) -> Principal:
        """Return who holds `raw_key`; raises `Unauthenticated` for a wrong, expired or revoked key.

        Costs one SHA-256 and one lookup, and for a key that was just used only a lookup. Both compare hashes
        first, keyed or one-way, and nobody can steer those towards a stored one; so no constant-time
        comparison is needed.
        """
        now_ms = self._now_ms()
        live = self._recent.get(raw_key)
        if live is None or now_ms >= live.valid_until_ms:
            live = self._looked_up(raw_key, now_ms)
        # No lock: of two threads that write at once either time is true, and one may be lost.
        live.last_used_ms = now_ms
        return live.principal

    def get(self, tenant_id: str, key_id: str) -> StoredKey:
        """Return a tenant's key; raises `NotFound`."""
        stored = self._keys.get(key_id)
        if stored is None or stored.key.tenant_id != tenant_id:
            raise NotFound(f"there is no key '{key_id}'")
        return stored

    def all(self) -> list[StoredKey]:
        """Return every key, revoked ones too."""
        return list(self._keys.values())

    def revision(self, key_id: str) -> int:
        """Return the revision of a key; 0 when it is not known."""
        stored = self._keys.get(key_id)
        return 0 if stored is None else stored.revision

    def put(self, new: StoredKey) -> None:
        """Let the secrets of `new` in, and end those of the value it replaces."""
        old = self._keys.get(new.key.id)
        self._keys[new.key.id] = new
        # New before old: a request that arrives between the two meets at least one secret that is valid.
        admitted = self._admit(new)
        for digest in (old.digest, old.previous_digest) if old is not None else ():
            if digest is not None and digest not in admitted:
                _end(self._live.pop(digest, None))

    def note_use(self, key_id: str, at_ms: int) -> None:
        """Take note that the database knows when a key was last used."""
        stored = self._keys[key_id]
        key = msgspec.structs.replace(stored.key, last_used_ms=at_ms)
        self._keys[key_id] = msgspec.structs.replace(stored, key=key)

    def view(self, stored: StoredKey) -> Key:
        """Return the key with its last use as memory knows it."""
        lives = [self._live.get(d) for d in (stored.digest, stored.previous_digest) if d]
        used_ms = max(
            (live.last_used_ms for live in lives if live is not None and live.last_used_ms),
            default=0,
        )
        if used_ms <= (stored.key.last_used_ms or 0):
            return stored.key
        return msgspec.structs.replace(stored.key, last_used_ms=used_ms)

    def _looked_up(self, raw_key: bytes | str, now_ms: int) -> _Live:
        live = self._live.get(digest_of(raw_key))
        if live is None:
            raise Unauthenticated(
                "the API key is not known here: it was mistyped, revoked or belongs to another installation"
            )
        if now_ms >= live.valid_until_ms:
            raise Unauthenticated("the API key has expired; use its successor or ask for a new one")
        # Emptied whole: only valid keys get here, and keeping an order of use would add work to every request.
        if len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
        self._recent[raw_key] = live
        return live

    def _admit(self, stored: StoredKey) -> set[bytes]:
        """Let the secrets of `stored` in; return their digests."""
        key = stored.key
        if key.revoked_at_ms is not None:
            return set()
        principal = Principal(key.tenant_id, key.id, frozenset(key.scopes))
        expires_ms = math.inf if key.expires_at_ms is None else key.expires_at_ms
        admitted = {stored.digest: expires_ms}
        if stored.previous_digest is not None and key.previous_valid_until_ms is not None:
            # A grace period cannot outlive the key itself.
            admitted[stored.previous_digest] = min(expires_ms, key.previous_valid_until_ms)
        for digest, valid_until_ms in admitted.items():
            # A new object in place of a changed one: a reader holds either the old principal or the new, never half of each.
            before = self._live.get(digest)
            self._live[digest] = _Live(principal, valid_until_ms)
            _end(before)
        return set(admitted)


def _end(live: _Live | None) -> None:
    """Make a secret invalid wherever it is cached, also for a request that is looking it up right now."""
    if live is not None:
        live.valid_until_ms = 0
