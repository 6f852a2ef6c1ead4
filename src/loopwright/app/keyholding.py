"""The API keys of an embedded loop: for the server that opens the directory next."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright.catalog.routes.keys import NewKey, Rotation
from loopwright.catalog.routes.signing_keys import signing_keys
from loopwright.catalog.secret import scopes_of
from loopwright.client.arguments import text, texts

from .arguments import Part, checked

_ACTOR = "embedded"


class Keys(Part):
    """Create, list, rotate and revoke keys."""

    def create(
        self,
        *,
        scopes: Sequence[str] | None = None,
        role: str | None = None,
        name: str = "",
        expires_at_ms: int | None = None,
        tenant_id: str | None = None,
    ) -> dict[str, Any]:
        """Create an API key with a role or with scopes; `secret` is in this answer and never again.

        `tenant_id` names another tenant than this loop's own.
        """
        asked = checked(
            NewKey,
            scopes=None if scopes is None else texts("scopes", scopes),
            role=role,
            name=name,
            expires_at_ms=expires_at_ms,
        )
        made = self._services.truth.catalog.keys.create(
            self._tenant_id if tenant_id is None else text("tenant_id", tenant_id),
            scopes_of(asked.scopes, asked.role),
            name=asked.name,
            expires_at_ms=asked.expires_at_ms,
            actor=_ACTOR,
        )
        return _plain(made)

    def list(self) -> builtins.list[dict[str, Any]]:
        """Return the tenant's API keys, oldest first, without their secrets."""
        return [_plain(key) for key in self._services.truth.catalog.keys.all(self._tenant_id)]

    def rotate(self, id: str, *, grace_s: float = 0.0) -> dict[str, Any]:
        """Give a key a new secret; the present one stays valid for `grace_s` seconds more."""
        asked = checked(Rotation, grace_s=grace_s)
        return _plain(
            self._services.truth.catalog.keys.rotate(
                self._tenant_id, text("id", id), grace_s=asked.grace_s, actor=_ACTOR
            )
        )

    def revoke(self, id: str) -> dict[str, Any]:
        """End a key at once and for good."""
        return _plain(
            self._services.truth.catalog.keys.revoke(self._tenant_id, text("id", id), actor=_ACTOR)
        )

    def rotate_signing(self) -> dict[str, Any]:
        """Sign from now on with a fresh key; tokens signed by earlier ones stay valid."""
        ring = self._services.door.ring
        ring.rotate()
        return _plain(signing_keys(ring))


def _plain(value: object) -> dict[str, Any]:
    # Through JSON, so that a list is a list, as it is over HTTP.
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return found
