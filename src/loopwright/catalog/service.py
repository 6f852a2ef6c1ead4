"""The catalog: tenants, keys and experiments, read from memory, changed in one transaction each.

Readers take no lock and touch no disk: they see one reference to an immutable value, before a change or
after it. Writers take turns. A change is one transaction with the facts about it (see `outbox`); it reaches memory
once it is committed, then the event log. The event log's readers act on it, so a change is in force from its fact's
offset on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import (
    Conflict,
    Invalid,
    LoopError,
    NotFound,
    NotInForce,
    StaleVersion,
)
from loopwright.core.events import Changed, ExperimentChanged, Fact, KeyChanged
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Database, Session
from loopwright.core.principal import Key, StoredKey
from loopwright.core.schema import apply_schema

from . import experiments as rules
from . import store
from .access import Access
from .experiments import Amendment, ArmChange, Move
from .keys import (
    MAX_GRACE_S,
    IssuedKey,
    checked_scopes,
    digest_of,
    mint,
    prefix_of,
)
from .outbox import Append, Outbox
from .tenants import DEFAULT_TENANT, Tenant, slug

_logger = logging.getLogger(__name__)


class Catalog:
    """Tenants, API keys and experiments of one installation."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        append: Append | None = None,
        applied: Callable[[int], None] = lambda offset: None,
    ) -> None:
        """Create the tables and the default tenant where missing, and read everything into memory.

        `append` puts facts into the event log; without it they wait in the outbox. `applied` waits until what the
        log says through an offset is in force; what it raises reaches the caller who made the change.
        """
        apply_schema(database, "catalog", store.SCHEMA)
        self._database = database
        self._now_ms = clock.now_ms
        self._ids = ids
        self._append = append
        self._applied = applied
        self._outbox = Outbox(database, ids=ids)
        self._writing = threading.RLock()
        self._tenants = {tenant.id: tenant for tenant in store.tenants(database)}
        if DEFAULT_TENANT not in self._tenants:
            self._store_tenant(Tenant(id=DEFAULT_TENANT, created_at_ms=self._now_ms()))
        self._access = Access(clock)
        for stored in store.keys(database):
            self._access.put(stored)
        # Bound once: every request authenticates, and a method in between would only hand it on.
        self.authenticate = self._access.authenticate
        loaded = map(rules.parsed, store.experiment_bodies(database))
        self._experiments = {(e.tenant_id, e.id): e for e in loaded}

    # Tenants

    def create_tenant(self, tenant_id: str, *, name: str = "", actor: str = "") -> Tenant:
        """Create a tenant; raises `Conflict` when the id is taken."""
        tenant = Tenant(id=slug(tenant_id, "tenant id"), name=name, created_at_ms=self._now_ms())
        with self._writing:
            if tenant.id in self._tenants:
                raise Conflict(f"there is already a tenant '{tenant.id}'", found=tenant.id)
            told = self._told(tenant.id, f"tenant/{tenant.id}", "create", actor=actor, name=name)
            self._store_tenant(tenant, told)
        self._try_relay()
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
                self._tell_of_key(session, stored, "create", actor=actor, scopes=list(key.scopes))
            self._access.put(stored)
        self._try_relay()
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
            new = StoredKey(
                key, digest_of(secret), old.digest if grace_s else None, old.revision + 1
            )
            self._replace(old, new, "rotate", actor=actor, grace_s=grace_s)
            issued = IssuedKey(key=self.key(tenant_id, key_id), secret=secret)
        self._try_relay()
        return issued

    def revoke_key(self, tenant_id: str, key_id: str, *, actor: str = "") -> Key:
        """End a key at once and for good; revoking it again changes nothing."""
        with self._writing:
            old = self._access.get(tenant_id, key_id)
            if old.key.revoked_at_ms is None:
                key = msgspec.structs.replace(
                    old.key, revoked_at_ms=self._now_ms(), previous_valid_until_ms=None
                )
                new = StoredKey(key, old.digest, revision=old.revision + 1)
                self._replace(old, new, "revoke", actor=actor)
        self._try_relay()
        return self.key(tenant_id, key_id)

    def key(self, tenant_id: str, key_id: str) -> Key:
        """Return what may be told about a key; raises `NotFound`."""
        return self._access.view(self._access.get(tenant_id, key_id))

    def keys(self, tenant_id: str) -> list[Key]:
        """Return a tenant's keys, oldest first, revoked ones too."""
        found = [s for s in self._access.all() if s.key.tenant_id == tenant_id]
        return sorted(map(self._access.view, found), key=lambda key: key.id)

    def flush_last_used(self) -> int:
        """Store when keys were last used; return how many had news. Call it now and then, and at the end."""
        with self._writing:
            used = [
                (stored.key.id, view.last_used_ms)
                for stored in self._access.all()
                if (view := self._access.view(stored)).last_used_ms is not None
                and view.last_used_ms != stored.key.last_used_ms
            ]
            if not used:
                return 0
            with self._database.transaction() as session:
                store.set_last_used(session, used)
            for key_id, at_ms in used:
                self._access.note_use(key_id, at_ms)
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
                self._tell_of_experiment(session, draft, "create", actor=actor)
            self._experiments[draft.tenant_id, draft.id] = draft
        self._settle(draft)
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

    # Going with the event log

    def adopt(self, stands_at: Mapping[tuple[str, str], int]) -> int:
        """Keep a fact, for the event log, about each experiment and key from before it held such facts.

        `stands_at` has the offsets at which paused and ended experiments had stopped learning. Returns how many
        facts there are; none the second time.
        """
        with self._writing, self._database.transaction() as session:
            now_ms = self._now_ms()
            facts: list[Fact] = [
                ExperimentChanged(
                    self._ids(),
                    now_ms,
                    experiment,
                    adopted=True,
                    stands_at=stands_at.get((experiment.tenant_id, experiment.id)),
                )
                for experiment in map(rules.parsed, store.untold_experiments(session))
            ]
            for stored in self._access.all():
                if stored.revision == 0:
                    adopted = msgspec.structs.replace(stored, revision=1)
                    facts.append(KeyChanged(self._ids(), now_ms, adopted))
                    self._access.put(adopted)
            self._outbox.put(session, *facts)
            store.mark_told(session)
        return len(facts)

    def record(self, change: Changed) -> None:
        """Keep the audit of a change that another slice made, until the event log has it."""
        with self._database.transaction() as session:
            self._outbox.put(session, change)
        self._try_relay()

    def relay(self) -> int:
        """Append to the event log what waits for it; return an offset that is not below any of it.

        Raises why the log takes nothing; what waits is kept. Call it at start-up, and now and then.
        """
        return 0 if self._append is None else self._outbox.relay(self._append)

    def follow(self, fact: Fact) -> None:
        """Take over a change that another process made, by the fact about it; an older value changes nothing."""
        with self._writing:
            match fact:
                case ExperimentChanged(experiment=after):
                    known = self._experiments.get((after.tenant_id, after.id))
                    if known is None or known.revision < after.revision:
                        self._experiments[after.tenant_id, after.id] = after
                case KeyChanged(stored=stored):
                    if self._access.revision(stored.key.id) < stored.revision:
                        self._access.put(stored)
                case _:
                    pass

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
                self._tell_of_experiment(
                    session, after, action, actor=actor, changed=rules.difference(before, after)
                )
            self._experiments[at] = after
        self._settle(after)
        return after

    def _settle(self, experiment: Experiment) -> None:
        """Return once a change is in force; raises `NotInForce` when the event log cannot take it yet."""
        try:
            offset = self.relay()
        except LoopError as error:
            raise NotInForce(
                f"experiment '{experiment.id}' is changed (revision {experiment.revision}), but the event log "
                f"cannot be written, so the change is not in force yet: {error.message}. It is tried again by "
                "itself; do not repeat it",
                found=experiment.revision,
            ) from error
        if self._append is not None:
            self._applied(offset)

    def _try_relay(self) -> None:
        """Tell the event log of a change that is in force without it."""
        try:
            self.relay()
        except LoopError as error:
            _logger.error(
                "a change waits in the outbox until the event log can be written",
                extra={"reason": error.message},
            )

    def _told(
        self, tenant_id: str, subject: str, action: str, *, actor: str, **detail: Any
    ) -> Changed:
        return Changed(self._now_ms(), tenant_id, actor, subject, action, detail)

    def _tell_of_experiment(
        self, session: Session, after: Experiment, action: str, *, actor: str, **detail: Any
    ) -> None:
        subject = f"experiment/{after.id}"
        detail = {"revision": after.revision, **detail}
        self._outbox.put(
            session,
            ExperimentChanged(self._ids(), self._now_ms(), after, actor),
            self._told(after.tenant_id, subject, action, actor=actor, **detail),
        )

    def _tell_of_key(
        self, session: Session, stored: StoredKey, action: str, *, actor: str, **detail: Any
    ) -> None:
        key = stored.key
        self._outbox.put(
            session,
            KeyChanged(self._ids(), self._now_ms(), stored, actor),
            self._told(key.tenant_id, f"key/{key.id}", action, actor=actor, **detail),
        )

    def _store_tenant(self, tenant: Tenant, *facts: Fact) -> None:
        with self._database.transaction() as session:
            store.add_tenant(session, tenant)
            self._outbox.put(session, *facts)
        self._tenants[tenant.id] = tenant

    def _usable(self, tenant_id: str, key_id: str) -> StoredKey:
        stored = self._access.get(tenant_id, key_id)
        if stored.key.revoked_at_ms is not None:
            raise Conflict(f"key '{key_id}' is revoked, and that is for good; create a new key")
        return stored

    def _replace(
        self, old: StoredKey, new: StoredKey, action: str, *, actor: str, **detail: Any
    ) -> None:
        used_ms = self._access.view(old).last_used_ms
        key = msgspec.structs.replace(new.key, last_used_ms=used_ms)
        new = msgspec.structs.replace(new, key=key)
        with self._database.transaction() as session:
            store.change_key(session, new)
            self._tell_of_key(session, new, action, actor=actor, **detail)
        self._access.put(new)
