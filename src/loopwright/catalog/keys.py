"""The API keys: made, renewed and ended, each change in one transaction with the facts about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from loopwright.core.errors import Conflict, Invalid
from loopwright.core.events import Fact, KeyChanged
from loopwright.core.ports import Database, Session
from loopwright.core.principal import Key, StoredKey

from . import store
from .access import Access
from .journal import Journal
from .secret import (
    MAX_GRACE_S,
    IssuedKey,
    checked_scopes,
    digest_of,
    mint,
    prefix_of,
)
from .tenant import DEFAULT_TENANT
from .tenants import Tenants


class Keys:
    """API keys of one installation, read from memory."""

    def __init__(
        self, database: Database, journal: Journal, *, access: Access, tenants: Tenants
    ) -> None:
        self._journal = journal
        self._access = access
        self._tenants = tenants
        for stored in store.keys(database):
            access.put(stored)
        self._appoint_operator(store.keys_without_role(database))

    def create(
        self,
        tenant_id: str,
        scopes: Iterable[str],
        *,
        name: str = "",
        expires_at_ms: int | None = None,
        actor: str = "",
        hand_over: Callable[[str], None] = lambda secret: None,
    ) -> IssuedKey:
        """Create an API key. Its secret is in the answer and nowhere else.

        `hand_over` gets the secret before the key is stored; what it raises prevents the key.
        """
        now_ms = self._journal.now_ms()
        if expires_at_ms is not None and expires_at_ms <= now_ms:
            raise Invalid(
                f"expires_at_ms is {expires_at_ms}, which has passed (it is {now_ms}); give a later time",
                found=expires_at_ms,
                expected=f"> {now_ms}",
            )
        self._tenants.get(tenant_id)
        key_id = self._journal.new_id()
        key = Key(
            id=key_id,
            tenant_id=tenant_id,
            name=name,
            scopes=checked_scopes(scopes),
            prefix=prefix_of(key_id),
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
        secret = mint(key.prefix)
        stored = StoredKey(key, digest_of(secret))
        # Before the commit: a crash after it would leave a valid key whose secret nobody has.
        hand_over(secret)
        with self._journal.writing:
            with self._journal.transaction() as session:
                store.add_key(session, stored)
                self._tell(session, stored, "create", actor=actor, scopes=list(key.scopes))
            self._access.put(stored)
        self._journal.try_relay()
        return IssuedKey(key=key, secret=secret)

    def rotate(
        self, tenant_id: str, key_id: str, *, grace_s: float = 0.0, actor: str = ""
    ) -> IssuedKey:
        """Give a key a new secret; the present one stays valid for `grace_s` seconds more.

        A secret that was already in its grace period ends at once.
        """
        if not 0 <= grace_s <= MAX_GRACE_S:
            raise Invalid(
                f"grace_s is {grace_s}; give 0 to {MAX_GRACE_S} seconds",
                found=grace_s,
                expected=[0, MAX_GRACE_S],
            )
        with self._journal.writing:
            old = self._usable(tenant_id, key_id)
            now_ms = self._journal.now_ms()
            secret = mint(old.key.prefix)
            key = msgspec.structs.replace(
                old.key,
                rotated_at_ms=now_ms,
                previous_valid_until_ms=now_ms + round(grace_s * 1000) if grace_s else None,
            )
            new = StoredKey(
                key, digest_of(secret), old.digest if grace_s else None, old.revision + 1
            )
            self._replace(old, new, "rotate", actor=actor, grace_s=grace_s)
            issued = IssuedKey(key=self.get(tenant_id, key_id), secret=secret)
        self._journal.try_relay()
        return issued

    def revoke(self, tenant_id: str, key_id: str, *, actor: str = "") -> Key:
        """End a key at once and for good; revoking it again changes nothing."""
        with self._journal.writing:
            old = self._access.get(tenant_id, key_id)
            # Idempotent, because a caller whose answer was lost must be able to repeat it.
            if old.key.revoked_at_ms is None:
                # The secret in its grace period ends as well: revoking is what is done about a leak.
                key = msgspec.structs.replace(
                    old.key, revoked_at_ms=self._journal.now_ms(), previous_valid_until_ms=None
                )
                new = StoredKey(key, old.digest, revision=old.revision + 1)
                self._replace(old, new, "revoke", actor=actor)
        self._journal.try_relay()
        return self.get(tenant_id, key_id)

    def get(self, tenant_id: str, key_id: str) -> Key:
        """Return what may be told about a key; raises `NotFound`."""
        return self._access.view(self._access.get(tenant_id, key_id))

    def all(self, tenant_id: str) -> list[Key]:
        """Return a tenant's keys, oldest first, revoked ones too."""
        found = [s for s in self._access.all() if s.key.tenant_id == tenant_id]
        return sorted(map(self._access.view, found), key=lambda key: key.id)

    def flush_last_used(self) -> int:
        """Store when keys were last used; return how many had news. Call it now and then, and at the end."""
        with self._journal.writing:
            # Only what is news: most keys are idle, and each row costs a write.
            used = [
                (stored.key.id, view.last_used_ms)
                for stored in self._access.all()
                if (view := self._access.view(stored)).last_used_ms is not None
                and view.last_used_ms != stored.key.last_used_ms
            ]
            if not used:
                return 0
            with self._journal.transaction() as session:
                store.set_last_used(session, used)
            for key_id, at_ms in used:
                self._access.note_use(key_id, at_ms)
            return len(used)

    def adopt(self) -> list[Fact]:
        """Return facts about the keys that the event log was never told of."""
        facts: list[Fact] = []
        for stored in self._access.all():
            if stored.revision == 0:
                adopted = msgspec.structs.replace(stored, revision=1)
                facts.append(KeyChanged(self._journal.new_id(), self._journal.now_ms(), adopted))
                self._access.put(adopted)
        return facts

    def follow(self, stored: StoredKey) -> None:
        """Take over the value that another process stored; an older one changes nothing."""
        if self._access.revision(stored.key.id) < stored.revision:
            self._access.put(stored)

    def _appoint_operator(self, without_role: list[str]) -> None:
        """Make the first valid admin key of the default tenant an operator key, in an installation from before roles.

        `admin` acted for every tenant then. One key keeps that power, so that the installation can be administered.
        """
        if not without_role:
            return
        now_ms = self._journal.now_ms()
        held = {stored.key.id: stored for stored in self._access.all()}
        first = next(
            (old for id in without_role if _may_become_operator(old := held[id], now_ms)), None
        )
        with self._journal.writing, self._journal.transaction() as session:
            if first is not None:
                scopes = checked_scopes([*first.key.scopes, "operator"])
                key = msgspec.structs.replace(first.key, scopes=scopes)
                new = msgspec.structs.replace(first, key=key, revision=first.revision + 1)
                store.change_scopes(session, new)
                self._tell(session, new, "appoint", actor="upgrade", scopes=list(scopes))
            # In the same transaction: a key that the operator revokes later is never replaced by another.
            store.mark_roles(session)
        if first is not None:
            self._access.put(new)

    def _tell(
        self, session: Session, stored: StoredKey, action: str, *, actor: str, **detail: Any
    ) -> None:
        key = stored.key
        self._journal.put(
            session,
            KeyChanged(self._journal.new_id(), self._journal.now_ms(), stored, actor),
            self._journal.told(key.tenant_id, f"key/{key.id}", action, actor=actor, **detail),
        )

    def _usable(self, tenant_id: str, key_id: str) -> StoredKey:
        stored = self._access.get(tenant_id, key_id)
        if stored.key.revoked_at_ms is not None:
            raise Conflict(f"key '{key_id}' is revoked, and that is for good; create a new key")
        return stored

    def _replace(
        self, old: StoredKey, new: StoredKey, action: str, *, actor: str, **detail: Any
    ) -> None:
        # Memory knows a later use than the database; replacing the key would forget it.
        used_ms = self._access.view(old).last_used_ms
        key = msgspec.structs.replace(new.key, last_used_ms=used_ms)
        new = msgspec.structs.replace(new, key=key)
        with self._journal.transaction() as session:
            store.change_key(session, new)
            self._tell(session, new, action, actor=actor, **detail)
        self._access.put(new)


def _may_become_operator(stored: StoredKey, now_ms: int) -> bool:
    key = stored.key
    is_valid = key.revoked_at_ms is None and (
        key.expires_at_ms is None or key.expires_at_ms > now_ms
    )
    return is_valid and key.tenant_id == DEFAULT_TENANT and "admin" in key.scopes
