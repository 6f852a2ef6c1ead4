"""Dependencies that handlers share: the principal, the tenant to act for, and the expected revision."""

from __future__ import annotations

import re
from typing import Annotated, Final, Protocol

from litestar.di import NamedDependency, Provide
from litestar.params import HeaderParameter, QueryParameter, SkipValidation

from loopwright.core.errors import Invalid
from loopwright.core.principal import Principal


class Named(Protocol):
    """A tenant."""

    @property
    def id(self) -> str:
        """Return its id."""
        ...


class Tenants(Protocol):
    """Knows which tenants there are."""

    def get(self, tenant_id: str) -> Named:
        """Return a tenant; raises `NotFound`."""
        ...


class HoldsTenants(Protocol):
    """The catalog, as far as it matters to who asks."""

    @property
    def tenants(self) -> Tenants:
        """Return the tenants there are."""
        ...


def acting_tenant(
    principal: NamedDependency[SkipValidation[Principal]],
    catalog: NamedDependency[SkipValidation[HoldsTenants]],
    tenant_id: Annotated[
        str | None,
        QueryParameter(
            description="The tenant to act for, when not the key's own. Needs `operator`."
        ),
    ] = None,
) -> str:
    """Return the id of the tenant that a request acts for; raises `NotFound`."""
    # Looked up although the id is known: a tenant that does not exist is 404, not an empty answer.
    return catalog.tenants.get(principal.acting_for(tenant_id)).id


def expected_revision(
    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            description="The revision you read, as in the ETag: change only if nobody else has.",
        ),
    ] = None,
    revision: Annotated[
        int | None,
        QueryParameter(description="The same as If-Match, for clients that cannot send it."),
    ] = None,
) -> int | None:
    """Return the revision that the caller expects to change, if any."""
    # `*` asks only that there is one (RFC 9110, section 13.1.1), which the handler checks anyway.
    if if_match is None or if_match.strip() == "*":
        return revision
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid(
            f'If-Match is {if_match}; send the ETag of the experiment, such as "3"', found=if_match
        )
    tagged = int(found[1])
    if revision not in (None, tagged):
        raise Invalid(f"If-Match says revision {tagged}, the query says {revision}; send one")
    return tagged


# Weak tags too, as proxies weaken them; 18 digits stay within a 64-bit integer.
_ETAG: Final = re.compile(r'(?:W/)?"?(\d{1,18})"?')

Asking = NamedDependency[SkipValidation[Principal]]
Acting = NamedDependency[str]
Expected = NamedDependency[int | None]

TENANT: Final = {"tenant": Provide(acting_tenant, sync_to_thread=False)}
EXPECTED: Final = {"expected": Provide(expected_revision, sync_to_thread=False)}
