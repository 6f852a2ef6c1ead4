"""`loopwright timezone`: where the days of a tenant's reports begin, over HTTP or in a directory that no server holds."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .offline import unserved
from .options import HERE, AsJson, Server
from .show import put_json, say

TIMEOUT_S = 10.0


def timezone(
    tz: Annotated[
        str | None,
        Parameter(help="The time zone to set, as Europe/Berlin (IANA); shown when not given."),
    ] = None,
    *,
    tenant: Annotated[
        str | None, Parameter(help="The tenant; that of the key when not given.")
    ] = None,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Show or set the time zone at whose midnights the days of a tenant's reports begin."""
    with unserved(server) as services:
        if services is None:
            found = _asked(server, tz, tenant)
        else:
            from loopwright.catalog import DEFAULT_TENANT

            zones, name = services.truth.catalog.zones, tenant or DEFAULT_TENANT
            found = zones.of(name) if tz is None else zones.set(name, tz, actor="command line")
    if json:
        put_json({"tz": found})
    else:
        say(found)


def _asked(server: Server, tz: str | None, tenant: str | None) -> str:
    import msgspec

    answer = server.ask(
        "GET" if tz is None else "PUT",
        "/api/v1/timezone",
        timeout_s=TIMEOUT_S,
        params={} if tenant is None else {"tenant_id": tenant},
        body=None if tz is None else {"tz": tz},
    )
    return str(msgspec.json.decode(answer)["tz"])
