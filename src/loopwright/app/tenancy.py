"""The tenants of an embedded loop. The process that opens the directory is the operator of its installation."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.catalog import Quotas, Tenant, Usage
from loopwright.client.arguments import text

from .arguments import Part, checked

_ACTOR = "embedded"


class Tenancy(Part):
    """Create tenants, set their quotas, see what they use."""

    def create(self, id: str, *, name: str = "") -> Tenant:
        """Create a domain of isolation; open it with `loopwright.open(path, tenant_id=id)`."""
        return self._services.truth.catalog.tenants.create(
            text("id", id), name=text("name", name), actor=_ACTOR
        )

    def list(self) -> Sequence[Tenant]:
        """Return every tenant, by id."""
        return self._services.truth.catalog.tenants.all()

    def set_quotas(
        self,
        id: str,
        *,
        requests_per_minute: int | None = None,
        events_per_day: int | None = None,
        experiments: int | None = None,
        stored_bytes: int | None = None,
    ) -> Tenant:
        """Hold a tenant to these quotas from now on; a quota that is left out is lifted."""
        quotas = checked(
            Quotas,
            requests_per_minute=requests_per_minute,
            events_per_day=events_per_day,
            experiments=experiments,
            stored_bytes=stored_bytes,
        )
        return self._services.truth.catalog.tenants.set_quotas(text("id", id), quotas, actor=_ACTOR)

    def usage(self, id: str | None = None) -> Usage:
        """Return what a tenant, by default this loop's own, uses of each quota."""
        return self._services.truth.usage_of(self._tenant_id if id is None else text("id", id))
