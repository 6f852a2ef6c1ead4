"""`loopwright keys …`: API keys and the signing key, over HTTP, or in a data directory that no server holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from loopwright.core.errors import SettingsInvalid

from .options import HERE, AsJson, Server
from .show import console, put_json, say, table

if TYPE_CHECKING:
    from loopwright.app.wiring import Services

app: Final = App(
    name="keys",
    help="Create, list, rotate and revoke API keys; rotate the signing key.",
    help_format="plaintext",
)
signing: Final = App(
    name="signing", help="The keys that sign request_ids.", help_format="plaintext"
)
app.command(signing)

ACTOR: Final = "command line"

Local = Annotated[
    bool,
    Parameter(
        help="Work on the data directory itself; its server must be stopped. Acts for the default tenant.",
        negative=(),
    ),
]
TenantId = Annotated[
    str | None,
    Parameter(
        help="The tenant that it is for, when not the key's own; needs an operator key.",
        show_default=False,
    ),
]
KeyId = Annotated[str, Parameter(help="Id of the key, as listed.")]


@app.command
def create(
    *,
    role: Annotated[
        str | None,
        Parameter(
            help="What it is for: product, viewer, reviewer, experimenter, admin (of its tenant), operator (of the "
            "installation).",
            show_default=False,
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        Parameter(
            help="What it may do, in place of a role: select, feedback, read, review, manage, admin, operator; "
            "repeat for several.",
            negative=(),
            show_default=False,
        ),
    ] = None,
    tenant: TenantId = None,
    name: Annotated[str, Parameter(help="What it is for.")] = "",
    local: Local = False,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Create an API key, with a role or with scopes. Its secret is shown this once."""
    if local:
        from loopwright.catalog.secret import scopes_of

        scopes = scopes_of(scope, role)
        with _services(server.data) as services:
            issued = _plain(
                services.truth.catalog.keys.create(
                    tenant or _tenant(), scopes, name=name, actor=ACTOR
                )
            )
    else:
        with server.client() as client:
            issued = client.keys.create(scopes=scope, role=role, name=name, tenant_id=tenant)
    _tell_issued(issued, json=json)


@app.command(name="list")
def list_(*, local: Local = False, server: Server = HERE, json: AsJson = False) -> None:
    """List API keys; never their secrets."""
    if local:
        with _services(server.data) as services:
            found = _plain(services.truth.catalog.keys.all(_tenant()))
    else:
        with server.client() as client:
            found = client.keys.list()
    if json:
        put_json(found)
        return
    from loopwright.core.principal import role_of

    shown = table("id", "name", "role or scopes", "last used", "state", left=5)
    for key in found:
        shown.add_row(
            key["id"],
            key["name"],
            role_of(key["scopes"]) or " ".join(key["scopes"]),
            _day(key["last_used_ms"]),
            "revoked" if key["revoked_at_ms"] else "valid",
        )
    console().print(shown)


@app.command
def rotate(
    id: KeyId,
    /,
    *,
    grace_s: Annotated[
        float, Parameter(help="Seconds for which the present secret still works.")
    ] = 0.0,
    local: Local = False,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Give a key a new secret, shown this once."""
    if local:
        with _services(server.data) as services:
            rotated = services.truth.catalog.keys.rotate(
                _tenant(), id, grace_s=grace_s, actor=ACTOR
            )
            issued = _plain(rotated)
    else:
        with server.client() as client:
            issued = client.keys.rotate(id, grace_s=grace_s)
    _tell_issued(issued, json=json)


@app.command
def revoke(
    id: KeyId, /, *, local: Local = False, server: Server = HERE, json: AsJson = False
) -> None:
    """End a key at once and for good."""
    if local:
        with _services(server.data) as services:
            key = _plain(services.truth.catalog.keys.revoke(_tenant(), id, actor=ACTOR))
    else:
        with server.client() as client:
            key = client.keys.revoke(id)
    if json:
        put_json(key)
    else:
        say(f"{key['id']} is revoked")


@signing.command(name="rotate")
def rotate_signing(*, local: Local = False, server: Server = HERE, json: AsJson = False) -> None:
    """Sign with a fresh key from now on; request_ids that are out there stay valid."""
    if local:
        with _services(server.data) as services:
            active = services.door.ring.rotate()
            ring: dict[str, Any] = {"ids": sorted(services.door.ring.ids()), "active": active}
    else:
        with server.client() as client:
            ring = client.keys.rotate_signing()
    if json:
        put_json(ring)
    else:
        say(f"key {ring['active']} signs now; {len(ring['ids'])} in the ring still verify")


@contextmanager
def _services(data: Path) -> Iterator[Services]:
    from loopwright.app.settings import load_settings
    from loopwright.app.wiring import Services

    # Before the services open: they would make a new catalog, and a key in it, in a folder that was
    # mistyped.
    if not (data / "catalog.db").exists():
        raise SettingsInvalid(f"{data} is not a data directory; name one with --data")
    services = Services(load_settings(data_dir=data))
    try:
        yield services
    finally:
        services.close()


def _tenant() -> str:
    from loopwright.catalog import DEFAULT_TENANT

    return DEFAULT_TENANT


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _tell_issued(issued: dict[str, Any], *, json: bool) -> None:
    if json:
        put_json(issued)
        return
    # On a line of its own and first, so that a script can take it with `head -n 1`.
    say(issued["secret"])
    key = issued["key"]
    say(
        f"key {key['id']} may {', '.join(key['scopes'])}; keep the line above: it is not shown again"
    )


# In UTC and not in local time: what two operators read to each other must be equal.
def _day(at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
