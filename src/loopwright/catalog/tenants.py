"""The tenants as memory holds them."""

from __future__ import annotations

import msgspec

from loopwright.core.errors import Conflict, NotFound
from loopwright.core.events import Fact
from loopwright.core.ports import Database
from loopwright.core.tenancy import Quotas, Tenant

from . import store
from .journal import Journal
from .quotas import Meters
from .tenant import DEFAULT_TENANT, slug


class Tenants:
    """Tenants of one installation, read from memory."""

    def __init__(self, database: Database, journal: Journal, *, meters: Meters) -> None:
        self._journal = journal
        self._meters = meters
        self._held = {tenant.id: tenant for tenant in store.tenants(database)}
        # Embedded use and the first key act for it, so it is there before anything else can be created.
        if DEFAULT_TENANT not in self._held:
            self._store(Tenant(id=DEFAULT_TENANT, created_at_ms=self._journal.now_ms()))
        for tenant in self._held.values():
            meters.put(tenant.id, tenant.quotas)

    def create(self, tenant_id: str, *, name: str = "", actor: str = "") -> Tenant:
        """Create a tenant; raises `Conflict` when the id is taken."""
        tenant = Tenant(
            id=slug(tenant_id, "tenant id"), name=name, created_at_ms=self._journal.now_ms()
        )
        with self._journal.writing:
            if tenant.id in self._held:
                raise Conflict(f"there is already a tenant '{tenant.id}'", found=tenant.id)
            told = self._journal.told(
                tenant.id, f"tenant/{tenant.id}", "create", actor=actor, name=name
            )
            self._store(tenant, told)
        self._journal.try_relay()
        return tenant

    def set_quotas(self, tenant_id: str, quotas: Quotas, *, actor: str = "") -> Tenant:
        """Hold a tenant to `quotas` from now on; raises `NotFound`."""
        with self._journal.writing:
            tenant = msgspec.structs.replace(self.get(tenant_id), quotas=quotas)
            told = self._journal.told(
                tenant_id,
                f"tenant/{tenant_id}",
                "set_quotas",
                actor=actor,
                **msgspec.to_builtins(quotas),
            )
            with self._journal.transaction() as session:
                store.set_quotas(session, tenant_id, quotas)
                self._journal.put(session, told)
            # After the commit: nobody may be held to a quota that a crash could undo.
            self._held[tenant_id] = tenant
            self._meters.put(tenant_id, quotas)
        self._journal.try_relay()
        return tenant

    def get(self, tenant_id: str) -> Tenant:
        """Return a tenant; raises `NotFound`."""
        try:
            return self._held[tenant_id]
        except KeyError:
            raise NotFound(f"there is no tenant '{tenant_id}'") from None

    def all(self) -> list[Tenant]:
        """Return every tenant, by id."""
        return sorted(self._held.values(), key=lambda tenant: tenant.id)

    def _store(self, tenant: Tenant, *facts: Fact) -> None:
        with self._journal.transaction() as session:
            store.add_tenant(session, tenant)
            self._journal.put(session, *facts)
        self._held[tenant.id] = tenant
