"""The catalog: tenants, keys and experiments, read from memory, changed in one transaction each.

Readers take no lock and touch no disk: they see one reference to an immutable value, before a change or
after it. Writers take turns. A change reaches memory only after it is committed, then the subscribers, then
the audit hook.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import Conflict, Invalid, NotFound, StaleVersion, Unauthenticated
from loopwright.core.events import Changed
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Database
from loopwright.core.principal import Principal
from loopwright.core.schema import apply_schema

from . import experiments as rules
from . import store
from .experiments import Amendment, ArmChange, Move
from .keys import (
    MAX_GRACE_S,
    IssuedKey,
    Key,
    checked_scopes,
    digest_of,
    mint,
    prefix_of,
)
from .store import StoredKey
from .tenants import DEFAULT_TENANT, Tenant, slug

Subscriber = Callable[[Experiment], None]


class _Live:
    """What authentication needs to know of one secret."""

    __slots__ = ("last_used_ms", "principal", "valid_until_ms")

    def __init__(self, principal: Principal, valid_until_ms: float) -> None:
        self.principal = principal
        self.valid_until_ms = valid_until_ms
        self.last_used_ms = 0


_MOST_RECENT: Final = 1024
"""Keys in plain text that are kept at hand, so that a busy one is not hashed at each request."""


class Catalog:
    """Tenants, API keys and experiments of one installation."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        audit: Callable[[Changed], None] = lambda _: None,
    ) -> None:
        """Create the tables and the default tenant where missing, and read everything into memory.

        `audit` is called with every change once it is in force; what it raises reaches whoever made the change.
        """
        apply_schema(database, "catalog", store.SCHEMA)
        self._database = database
        self._now_ms = clock.now_ms
        self._ids = ids
        self._audit = audit
        self._subscribers: list[Subscriber] = []
        self._writing = threading.RLock()
        self._tenants = {tenant.id: tenant for tenant in store.tenants(database)}
        if DEFAULT_TENANT not in self._tenants:
            self._store_tenant(Tenant(id=DEFAULT_TENANT, created_at_ms=self._now_ms()))
        self._keys = {stored.key.id: stored for stored in store.keys(database)}
        self._live: dict[bytes, _Live] = {}
        self._recent: dict[bytes | str, _Live] = {}
        for stored in self._keys.values():
            self._admit(stored)
        loaded = map(rules.parsed, store.experiment_bodies(database))
        self._experiments = {(e.tenant_id, e.id): e for e in loaded}

    # Tenants

    def create_tenant(self, tenant_id: str, *, name: str = "", actor: str = "") -> Tenant:
        """Create a tenant; raises `Conflict` when the id is taken."""
        tenant = Tenant(id=slug(tenant_id, "tenant id"), name=name, created_at_ms=self._now_ms())
        with self._writing:
            if tenant.id in self._tenants:
                raise Conflict(f"there is already a tenant '{tenant.id}'", found=tenant.id)
            self._store_tenant(tenant)
            self._tell(tenant.id, f"tenant/{tenant.id}", "create", actor=actor, name=name)
        return tenant

    def tenant(self, tenant_id: str) -> Tenant:
        """Return a tenant; raises `NotFound`."""
        try:
            return self._tenants[tenant_id]
        except KeyError:
            raise NotFound(f"there is no tenant '{tenant_id}'") from None

    def tenants(self) -> list[Tenant]:
        """Return every tenant, by id."""
        return sorted(self._tenants.values(), key=lambda tenant: tenant.id)

    # API keys

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
        live.last_used_ms = now_ms
        return live.principal

    def _looked_up(self, raw_key: bytes | str, now_ms: int) -> _Live:
        live = self._live.get(digest_of(raw_key))
        if live is None:
            raise Unauthenticated(
                "the API key is not known here: it was mistyped, revoked or belongs to another installation"
            )
        if now_ms >= live.valid_until_ms:
            raise Unauthenticated("the API key has expired; use its successor or ask for a new one")
        if len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
        self._recent[raw_key] = live
        return live

    def create_key(
        self,
        tenant_id: str,
        scopes: Iterable[str],
        *,
        name: str = "",
        expires_at_ms: int | None = None,
        actor: str = "",
    ) -> IssuedKey:
        """Create an API key. Its secret is in the answer and nowhere else."""
        now_ms = self._now_ms()
        if expires_at_ms is not None and expires_at_ms <= now_ms:
            raise Invalid(
                f"expires_at_ms is {expires_at_ms}, which has passed (it is {now_ms}); give a later time",
                found=expires_at_ms,
                expected=f"> {now_ms}",
            )
        self.tenant(tenant_id)
        key_id = self._ids()
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
        with self._writing:
            with self._database.transaction() as session:
                store.add_key(session, stored)
            self._keys[key_id] = stored
            self._admit(stored)
            self._tell(tenant_id, f"key/{key_id}", "create", actor=actor, scopes=list(key.scopes))
        return IssuedKey(key=key, secret=secret)

    def rotate_key(
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
        with self._writing:
            old = self._usable(tenant_id, key_id)
            now_ms = self._now_ms()
            secret = mint(old.key.prefix)
            key = msgspec.structs.replace(
                old.key,
                rotated_at_ms=now_ms,
                previous_valid_until_ms=now_ms + round(grace_s * 1000) if grace_s else None,
            )
            new = StoredKey(key, digest_of(secret), old.digest if grace_s else None)
            self._replace(old, new)
            self._tell(tenant_id, f"key/{key_id}", "rotate", actor=actor, grace_s=grace_s)
            return IssuedKey(key=self.key(tenant_id, key_id), secret=secret)

    def revoke_key(self, tenant_id: str, key_id: str, *, actor: str = "") -> Key:
        """End a key at once and for good; revoking it again changes nothing."""
        with self._writing:
            old = self._stored_key(tenant_id, key_id)
            if old.key.revoked_at_ms is None:
                key = msgspec.structs.replace(
                    old.key, revoked_at_ms=self._now_ms(), previous_valid_until_ms=None
                )
                self._replace(old, StoredKey(key, old.digest))
                self._tell(tenant_id, f"key/{key_id}", "revoke", actor=actor)
            return self.key(tenant_id, key_id)

    def key(self, tenant_id: str, key_id: str) -> Key:
        """Return what may be told about a key; raises `NotFound`."""
        return self._view(self._stored_key(tenant_id, key_id))

    def keys(self, tenant_id: str) -> list[Key]:
        """Return a tenant's keys, oldest first, revoked ones too."""
        found = [s for s in list(self._keys.values()) if s.key.tenant_id == tenant_id]
        return sorted(map(self._view, found), key=lambda key: key.id)

    def flush_last_used(self) -> int:
        """Store when keys were last used; return how many had news. Call it now and then, and at the end."""
        with self._writing:
            used = [
                (stored.key.id, view.last_used_ms)
                for stored in self._keys.values()
                if (view := self._view(stored)).last_used_ms is not None
                and view.last_used_ms != stored.key.last_used_ms
            ]
            if not used:
                return 0
            with self._database.transaction() as session:
                store.set_last_used(session, used)
            for key_id, at_ms in used:
                stored = self._keys[key_id]
                key = msgspec.structs.replace(stored.key, last_used_ms=at_ms)
                self._keys[key_id] = msgspec.structs.replace(stored, key=key)
            return len(used)

    # Experiments

    def experiment(self, tenant_id: str, experiment_id: str) -> Experiment:
        """Return an experiment as it is now; raises `NotFound`."""
        try:
            return self._experiments[tenant_id, experiment_id]
        except KeyError:
            raise NotFound(f"there is no experiment '{experiment_id}'") from None

    def experiments(self, tenant_id: str) -> list[Experiment]:
        """Return a tenant's experiments, by id, ended ones too."""
        found = [e for e in list(self._experiments.values()) if e.tenant_id == tenant_id]
        return sorted(found, key=lambda experiment: experiment.id)

    def create_experiment(self, experiment: Experiment, *, actor: str = "") -> Experiment:
        """Create `experiment` as a draft and return it as it is kept.

        Raises `Invalid` or `PolicyMismatch` when it could not run as described, `Conflict` when the id is
        taken. Its state, revision and times are set here, whatever was given.
        """
        now_ms = self._now_ms()
        draft = msgspec.structs.replace(
            experiment, state="draft", revision=1, created_at_ms=now_ms, updated_at_ms=now_ms
        )
        draft, body = rules.normal(draft)
        rules.check(draft)
        self.tenant(draft.tenant_id)
        with self._writing:
            if (draft.tenant_id, draft.id) in self._experiments:
                raise Conflict(
                    f"there is already an experiment '{draft.id}'; change it, or choose another id",
                    found=draft.id,
                )
            with self._database.transaction() as session:
                store.add_experiment(session, draft.tenant_id, draft.id, body=body)
            self._put(draft, "create", actor=actor)
        return draft

    def update_experiment(
        self,
        tenant_id: str,
        experiment_id: str,
        amendment: Amendment,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Change an experiment; a draft in everything, a started one in what learning does not depend on.

        Raises `StaleVersion` when `revision` is given and is not the present one.
        """
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.amended(experiment, amendment),
            "update",
            revision=revision,
            actor=actor,
        )

    def move_experiment(
        self,
        tenant_id: str,
        experiment_id: str,
        move: Move,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Start, pause, resume or end an experiment."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.moved(experiment, move),
            move,
            revision=revision,
            actor=actor,
        )

    def add_arm(
        self,
        tenant_id: str,
        experiment_id: str,
        arm: Arm,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Add an arm in the last position."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.extended(experiment, arm),
            "add_arm",
            revision=revision,
            actor=actor,
        )

    def change_arm(
        self,
        tenant_id: str,
        experiment_id: str,
        arm_id: str,
        change: ArmChange,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Enable, disable or retire an arm, or change its shares, payload or metadata."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.amended(experiment, Amendment(arms={arm_id: change})),
            "change_arm",
            revision=revision,
            actor=actor,
        )

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with an experiment after each committed change of it, in the order of changes.

        It runs on the thread of whoever made the change, so it should hand work on rather than do it.
        """
        self._subscribers.append(subscriber)

    # How changes are made

    def _change(
        self,
        at: tuple[str, str],
        step: Callable[[Experiment], Experiment],
        action: str,
        *,
        revision: int | None,
        actor: str,
    ) -> Experiment:
        with self._writing:
            before = self.experiment(*at)
            rules.expect_revision(before, revision)
            after, body = rules.normal(step(before))
            if body == rules.normal(before)[1]:
                return before
            rules.check(after)
            after = msgspec.structs.replace(
                after,
                revision=before.revision + 1,
                updated_at_ms=max(before.updated_at_ms, self._now_ms()),
            )
            after, body = rules.normal(after)
            with self._database.transaction() as session:
                if not store.change_experiment(session, *at, revision=after.revision, body=body):
                    raise StaleVersion(
                        f"experiment '{after.id}' was changed by another process; restart this one to "
                        "read it again",
                        expected=before.revision,
                    )
            self._put(after, action, actor=actor, changed=rules.difference(before, after))
            return after

    def _put(self, experiment: Experiment, action: str, *, actor: str, **detail: Any) -> None:
        self._experiments[experiment.tenant_id, experiment.id] = experiment
        for subscriber in self._subscribers:
            subscriber(experiment)
        self._tell(
            experiment.tenant_id,
            f"experiment/{experiment.id}",
            action,
            actor=actor,
            revision=experiment.revision,
            **detail,
        )

    def _tell(
        self, tenant_id: str, subject: str, action: str, *, actor: str, **detail: Any
    ) -> None:
        self._audit(Changed(self._now_ms(), tenant_id, actor, subject, action, detail))

    def _store_tenant(self, tenant: Tenant) -> None:
        with self._database.transaction() as session:
            store.add_tenant(session, tenant)
        self._tenants[tenant.id] = tenant

    def _stored_key(self, tenant_id: str, key_id: str) -> StoredKey:
        stored = self._keys.get(key_id)
        if stored is None or stored.key.tenant_id != tenant_id:
            raise NotFound(f"there is no key '{key_id}'")
        return stored

    def _usable(self, tenant_id: str, key_id: str) -> StoredKey:
        stored = self._stored_key(tenant_id, key_id)
        if stored.key.revoked_at_ms is not None:
            raise Conflict(f"key '{key_id}' is revoked, and that is for good; create a new key")
        return stored

    def _replace(self, old: StoredKey, new: StoredKey) -> None:
        used_ms = self._view(old).last_used_ms
        new = msgspec.structs.replace(
            new, key=msgspec.structs.replace(new.key, last_used_ms=used_ms)
        )
        with self._database.transaction() as session:
            store.change_key(session, new)
        self._keys[new.key.id] = new
        # The new secret is known before the old one is forgotten: a reader meets at least one of them.
        admitted = self._admit(new)
        for digest in (old.digest, old.previous_digest):
            if digest is not None and digest not in admitted:
                _end(self._live.pop(digest, None))

    def _admit(self, stored: StoredKey) -> set[bytes]:
        """Let the secrets of `stored` in; return their digests."""
        key = stored.key
        if key.revoked_at_ms is not None:
            return set()
        principal = Principal(key.tenant_id, key.id, frozenset(key.scopes))
        expires_ms = math.inf if key.expires_at_ms is None else key.expires_at_ms
        admitted = {stored.digest: expires_ms}
        if stored.previous_digest is not None and key.previous_valid_until_ms is not None:
            admitted[stored.previous_digest] = min(expires_ms, key.previous_valid_until_ms)
        for digest, valid_until_ms in admitted.items():
            before = self._live.get(digest)
            self._live[digest] = _Live(principal, valid_until_ms)
            _end(before)
        return set(admitted)

    def _view(self, stored: StoredKey) -> Key:
        """Return the key with its last use as memory knows it."""
        lives = [self._live.get(d) for d in (stored.digest, stored.previous_digest) if d]
        used_ms = max(
            (live.last_used_ms for live in lives if live is not None and live.last_used_ms),
            default=0,
        )
        if used_ms <= (stored.key.last_used_ms or 0):
            return stored.key
        return msgspec.structs.replace(stored.key, last_used_ms=used_ms)


def _end(live: _Live | None) -> None:
    """Make a secret invalid wherever it is still at hand, also for a request that is looking it up right now."""
    if live is not None:
        live.valid_until_ms = 0
