"""Paths without `/api/v1`, for clients of an earlier rating service that know neither a prefix nor a key."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from .asgi import App, Receive, Scope, Send

PREFIX: Final = "/api/v1"

KEYLESS: Final = "loopwright.keyless_tenant"
"""Member of the scope that names the tenant of a request that needs no key."""

# Exact paths: everything else below /feedback still needs a key.
_OPEN: Final = frozenset(
    {
        ("POST", "/feedback"),
        ("GET", "/feedback/stats"),
        ("GET", "/feedback/export"),
        ("GET", "/feedback/preferences"),
    }
)


class Unprefixed:
    """Passes `/feedback…` on as `/api/v1/feedback…`; without a key only where a tenant is named for such requests."""

    def __init__(self, behind: App, *, keyless_tenant: str | None) -> None:
        self._behind = behind
        self._tenant = keyless_tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == "/feedback" or path.startswith("/feedback/")):
            # ASGI makes `raw_path` optional; where it is there, both must name the same resource.
            raw = scope.get("raw_path") or path.encode()
            changed = {"path": PREFIX + path, "raw_path": PREFIX.encode() + raw}
            if self._tenant is not None and (scope["method"], path) in _OPEN and is_local(scope):
                changed[KEYLESS] = self._tenant
            scope = {**scope, **changed}
        await self._behind(scope, receive, send)


def is_local(scope: Scope) -> bool:
    """Say whether a request without a key comes from a program on this machine, and not from a page in a browser.

    A page elsewhere can make a browser send requests here: it then names an origin, or, after DNS rebinding, a host
    that is not this machine, or it sends a body without the media type that would need this server's permission.
    """
    said: dict[bytes, str] = {
        name.lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    client = scope.get("client")
    if b"authorization" in said or b"origin" in said or not client or not is_loopback(client[0]):
        return False
    media_type = said.get(b"content-type", "").split(";")[0].strip().lower()
    # A browser sends text or a form to another origin unasked (a CORS simple request); JSON needs a preflight.
    if scope["method"] == "POST" and media_type != "application/json":
        return False
    # After DNS rebinding the address is ours, and Host is still the name of the page's server.
    return is_loopback(urlsplit(f"//{said.get(b'host', '')}").hostname or "")


def is_loopback(host: str) -> bool:
    """Say whether a host name or an address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # No other name: resolving it would ask a DNS server that the attacker may own.
        return host == "localhost"
