"""Letting held back bursts count, over HTTP. It stands beside the trust view, whose bursts it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation

from loopwright.catalog.routes import Catalogued
from loopwright.web import Asking, problems

from .releases import NewRelease, Release, ReleaseList, Releases, Releasing

Known = NamedDependency[SkipValidation[Releases]]
Letting = NamedDependency[SkipValidation[Releasing]]

MAX_PAGE: Final = 1000
_LAUNCH: Final = {
    "experiment_id": "greeting",
    "arm_id": "casual",
    "from_ms": 1_750_000_000_000,
    "to_ms": 1_750_000_059_999,
    "note": "the newsletter of Monday",
}


class ReleaseController(Controller):
    """Bursts that somebody has looked at and lets count."""

    path = "/api/v1/feedback/trust/{of_tenant:str}/releases"
    tags: Sequence[str] = ("insights",)

    @post(
        summary="Release a burst",
        response_description="The release; reports count by it at once.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
    )
    def release(
        self,
        of_tenant: FromPath[str],
        data: Annotated[NewRelease, Body(examples=[Example(value=_LAUNCH)])],
        catalog: Catalogued,
        principal: Asking,
        releasing: Letting,
    ) -> Release:
        """Let what was held back as a burst of an arm, from one time to another, count from now on.

        Without `experiment_id` it is about what is of no experiment. Limits of person, session and address still
        hold.
        """
        principal.require("manage")
        tenant = catalog.tenant(principal.acting_for(of_tenant)).id
        return releasing.release(tenant, data, actor=principal.key_id)

    @get(summary="List releases", responses=problems(404), sync_to_thread=True)
    def list(
        self,
        of_tenant: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        releases: Known,
        limit: Annotated[
            int, QueryParameter(ge=1, le=MAX_PAGE, description="Most items to return.")
        ] = 100,
    ) -> ReleaseList:
        """Return the newest releases, and who took which of them back."""
        principal.require("read")
        tenant = catalog.tenant(principal.acting_for(of_tenant)).id
        return releases.list(tenant, limit=limit)

    @delete(
        "/{release_id:str}",
        summary="Take a release back",
        response_description="The release as it now is.",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
    )
    def withdraw(
        self,
        of_tenant: FromPath[str],
        release_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        releasing: Letting,
    ) -> Release:
        """Hold back again what a release let count. It stays in the list, with who took it back."""
        principal.require("manage")
        tenant = catalog.tenant(principal.acting_for(of_tenant)).id
        return releasing.withdraw(tenant, release_id, actor=principal.key_id)
