"""`loopwright tenants …`: create tenants, set their quotas, see what they use, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from .options import HERE, AsJson, Server
from .show import console, put_json, say, table

if TYPE_CHECKING:
    from loopwright.core.tenancy import Level

app: Final = App(
    name="tenants",
    help="Create tenants, set their quotas, see what they use.",
    help_format="plaintext",
)

TenantId = Annotated[str, Parameter(help="Id of the tenant.")]
Limit = Annotated[int | None, Parameter(show_default=False)]

_QUOTAS: Final = ("requests_per_minute", "events_per_day", "experiments", "stored_bytes")


@app.command
def create(
    id: TenantId,
    /,
    *,
    name: Annotated[str, Parameter(help="What people call it.")] = "",
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Create a tenant. Needs an operator key."""
    with server.client() as client:
        made = client.tenants.create(id, name=name)
    if json:
        put_json(made)
    else:
        say(
            f"tenant {made.id} is created; give it a key: loopwright keys create --tenant {made.id} --role admin"
        )


@app.command(name="list")
def list_(*, server: Server = HERE, json: AsJson = False) -> None:
    """List tenants with their quotas: all for an operator key, else the key's own."""
    with server.client() as client:
        found = client.tenants.list()
    if json:
        put_json(found)
        return
    shown = table("id", "name", *(_words(quota) for quota in _QUOTAS), left=2)
    for tenant in found:
        limits = (_limit(getattr(tenant.quotas, quota)) for quota in _QUOTAS)
        shown.add_row(tenant.id, tenant.name, *limits)
    console().print(shown)


@app.command
def quotas(
    id: TenantId,
    /,
    *,
    requests_per_minute: Annotated[Limit, Parameter(help="Requests with its keys.")] = None,
    events_per_day: Annotated[Limit, Parameter(help="Facts that it sends, by day in UTC.")] = None,
    experiments: Annotated[Limit, Parameter(help="Experiments that have not ended.")] = None,
    stored_bytes: Annotated[Limit, Parameter(help="Bytes of its facts in the event log.")] = None,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Set a tenant's quotas; one that is left out is lifted. Needs an operator key."""
    with server.client() as client:
        tenant = client.tenants.set_quotas(
            id,
            requests_per_minute=requests_per_minute,
            events_per_day=events_per_day,
            experiments=experiments,
            stored_bytes=stored_bytes,
        )
    if json:
        put_json(tenant)
        return
    limits = ", ".join(f"{_words(q)} {_limit(getattr(tenant.quotas, q))}" for q in _QUOTAS)
    say(f"tenant {tenant.id} may use: {limits}")


@app.command
def usage(
    id: Annotated[
        str | None, Parameter(help="Id of the tenant; every one that the key sees, unless given.")
    ] = None,
    /,
    *,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Show what tenants use of each quota."""
    with server.client() as client:
        # What the key may see decides: the list holds its own tenant only, unless it is an operator's.
        ids = [tenant.id for tenant in client.tenants.list()] if id is None else [id]
        found = [client.tenants.usage(each) for each in ids]
    if json:
        put_json(found)
        return
    shown = table("tenant", *(_words(quota) for quota in _QUOTAS))
    for used in found:
        shown.add_row(used.tenant_id, *(_level(getattr(used, quota)) for quota in _QUOTAS))
    console().print(shown)


def _words(quota: str) -> str:
    return quota.replace("_", " ")


def _limit(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


def _level(level: Level) -> str:
    used = "-" if level.used is None else f"{level.used:,}"
    return used if level.limit is None else f"{used} of {level.limit:,}"
