"""The time zone of a tenant over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, get, put
from litestar.openapi.spec import Example
from litestar.params import Body

from loopwright.web.asking import TENANT, Acting, Asking
from loopwright.web.guard import needs
from loopwright.web.problems import problems

from .catalogued import Catalogued


class TimeZone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time zone by its name in the IANA database."""

    tz: str


class TimeZoneController(Controller):
    """Where the days of a tenant's reports begin."""

    path = "/api/v1/timezone"
    tags: Sequence[str] = ("tenants",)
    dependencies = TENANT

    @get(
        summary="Read the time zone",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def read(self, catalog: Catalogued, tenant: Acting) -> TimeZone:
        """Return the time zone at whose midnights the days of reports begin when a request names none."""
        return TimeZone(catalog.zones.of(tenant))

    @put(
        summary="Set the time zone",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def set(
        self,
        data: Annotated[TimeZone, Body(examples=[Example(value={"tz": "Europe/Berlin"})])],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> TimeZone:
        """Let days begin at midnight there, in reports, trends, and the dates of exports. Facts stay as they are."""
        return TimeZone(catalog.zones.set(tenant, data.tz, actor=principal.key_id))
