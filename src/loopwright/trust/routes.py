"""Clear bursts that were held back, over HTTP, where a clearance is called a release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation

from loopwright.catalog.routes import Catalogued
from loopwright.web import Asking, needs, problems

from .clearances import Clearance, ClearanceList, Clearances, Clearing, NewClearance

Known = NamedDependency[SkipValidation[Clearances]]
Letting = NamedDependency[SkipValidation[Clearing]]

MAX_PAGE: Final = 1000
_LAUNCH: Final = {
    "experiment_id": "greeting",
    "arm_id": "casual",
    "from_ms": 1_750_000_000_000,
    "to_ms": 1_750_000_059_999,
    "note": "the newsletter of Monday",
}


class ClearanceController(Controller):
    """Bursts that a person has looked at and cleared."""

    # Published names stay: on the wire a clearance is a release.
    path = "/api/v1/feedback/trust/{of_tenant:str}/releases"
    tags: Sequence[str] = ("insights",)

    @post(
        summary="Clear a burst",
        response_description="The release; reports count by it at once.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("review"),
    )
    def release(
        self,
        of_tenant: FromPath[str],
        data: Annotated[NewClearance, Body(examples=[Example(value=_LAUNCH)])],
        catalog: Catalogued,
        principal: Asking,
        clearing: Letting,
    ) -> Clearance:
        """Let what was held back as a burst of an arm, from one time to another, count from now on.

        Without `experiment_id` it is for facts without an experiment. Limits of person, session and address still
        hold.
        """
        # Before the tenant is looked up: a key without the scope learns nothing about tenants.
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        return clearing.clear(tenant, data, actor=principal.key_id)

    @get(summary="List releases", responses=problems(404), sync_to_thread=True, **needs("read"))
    def list(
        self,
        of_tenant: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        clearances: Known,
        limit: Annotated[
            int, QueryParameter(ge=1, le=MAX_PAGE, description="Most items to return.")
        ] = 100,
    ) -> ClearanceList:
        """Return the newest releases, and who withdrew which of them."""
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        return clearances.list(tenant, limit=limit)

    @delete(
        "/{release_id:str}",
        summary="Withdraw a release",
        response_description="The release as it now is.",
        responses=problems(404),
        # Not 204: the answer is the release with who withdrew it.
        status_code=200,
        sync_to_thread=True,
        **needs("review"),
    )
    def withdraw(
        self,
        of_tenant: FromPath[str],
        release_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        clearing: Letting,
    ) -> Clearance:
        """Hold back again the votes that a release let count. The release stays in the list, with who withdrew it."""
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        return clearing.withdraw(tenant, release_id, actor=principal.key_id)
