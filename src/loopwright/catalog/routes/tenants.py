"""Tenants over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from litestar import Controller, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, SkipValidation
from msgspec import structs

from loopwright.core.experiment import (
    Slug,
)
from loopwright.core.tenancy import Quotas, Tenant, Usage
from loopwright.web.asking import Asking
from loopwright.web.guard import needs
from loopwright.web.problems import problems

from .catalogued import Catalogued

UsageOf = Callable[[str], Usage]
"""Returns what a tenant uses and may use."""

Measuring = NamedDependency[SkipValidation[UsageOf]]


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant is made of."""

    id: Slug
    name: str = ""


class TenantList(msgspec.Struct, frozen=True):
    """Tenants, by id."""

    items: list[Tenant]


class NewQuotas(Quotas, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant may use; null is without limit."""


class TenantsController(Controller):
    """Tenants."""

    path = "/api/v1/tenants"
    tags: Sequence[str] = ("tenants",)

    @post(
        summary="Create a tenant",
        response_description="The tenant.",
        responses=problems(409, 422),
        sync_to_thread=True,
        **needs("operator"),
    )
    def create(
        self,
        data: Annotated[NewTenant, Body(examples=[Example(value={"id": "acme", "name": "Acme"})])],
        catalog: Catalogued,
        principal: Asking,
    ) -> Tenant:
        """Create a domain of isolation."""
        return catalog.tenants.create(data.id, name=data.name, actor=principal.key_id)

    @get(summary="List tenants", responses=problems(), sync_to_thread=False, **needs("read"))
    def list(self, catalog: Catalogued, principal: Asking) -> TenantList:
        """Return every tenant to the operator, to anybody else the key's own."""
        if principal.is_operator:
            return TenantList(catalog.tenants.all())
        return TenantList([catalog.tenants.get(principal.tenant_id)])

    @get(
        "/{tenant:str}",
        summary="Read a tenant",
        responses=problems(404),
        sync_to_thread=False,
        **needs("read"),
    )
    def read(self, tenant: FromPath[str], catalog: Catalogued, principal: Asking) -> Tenant:
        """Return a tenant."""
        return catalog.tenants.get(principal.acting_for(tenant))

    @put(
        "/{tenant:str}/quotas",
        summary="Set a tenant's quotas",
        response_description="The tenant.",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("operator"),
    )
    def set_quotas(
        self,
        tenant: FromPath[str],
        data: Annotated[NewQuotas, Body(examples=[Example(value={"requests_per_minute": 600})])],
        catalog: Catalogued,
        principal: Asking,
    ) -> Tenant:
        """Hold a tenant to these quotas from now on; a quota that is left out or null is lifted."""
        quotas = Quotas(**structs.asdict(data))
        return catalog.tenants.set_quotas(tenant, quotas, actor=principal.key_id)

    @get(
        "/{tenant:str}/usage",
        summary="Read what a tenant uses",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def usage(
        self, tenant: FromPath[str], usage_of: Measuring, catalog: Catalogued, principal: Asking
    ) -> Usage:
        """Return what a tenant uses of each quota, its limit, and when it begins anew."""
        return usage_of(catalog.tenants.get(principal.acting_for(tenant)).id)
