"""API keys over HTTP. Nobody gets a key that can do more than the one in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta

from loopwright.catalog.secret import MAX_GRACE_S, IssuedKey, scopes_of
from loopwright.core.principal import Key, Principal, Role, Scope
from loopwright.web.asking import TENANT, Acting, Asking
from loopwright.web.guard import needs
from loopwright.web.problems import problems

from .catalogued import Catalogued


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an API key may do, by a role or by its scopes, and for how long."""

    scopes: list[Scope] | None = None
    role: Role | None = None
    name: str = ""
    expires_at_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the present secret stays valid beside the new one."""

    grace_s: Annotated[float, Meta(ge=0, le=MAX_GRACE_S)] = 0.0


class KeyList(msgspec.Struct, frozen=True):
    """API keys, oldest first; never their secrets."""

    items: list[Key]


class KeysController(Controller):
    """API keys."""

    path = "/api/v1/keys"
    tags: Sequence[str] = ("keys",)
    dependencies = TENANT

    @post(
        summary="Create an API key",
        response_description="The key and its secret.",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def create(
        self,
        data: Annotated[
            NewKey,
            Body(examples=[Example(value={"name": "web shop", "scopes": ["select", "feedback"]})]),
        ],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> IssuedKey:
        """Create a key. Keep `secret`: it is shown this once. A key can grant only scopes it has itself."""
        scopes = scopes_of(data.scopes, data.role)
        _require_power_over(principal, scopes)
        return catalog.keys.create(
            tenant,
            scopes,
            name=data.name,
            expires_at_ms=data.expires_at_ms,
            actor=principal.key_id,
        )

    @get(summary="List API keys", responses=problems(404), sync_to_thread=False, **needs("manage"))
    def list(self, catalog: Catalogued, tenant: Acting) -> KeyList:
        """Return keys, oldest first, revoked ones too; never a secret."""
        return KeyList(catalog.keys.all(tenant))

    @get(
        "/{key_id:str}",
        summary="Read an API key",
        responses=problems(404),
        sync_to_thread=False,
        **needs("manage"),
    )
    def read(self, key_id: FromPath[str], catalog: Catalogued, tenant: Acting) -> Key:
        """Return what may be told about a key."""
        return catalog.keys.get(tenant, key_id)

    @post(
        "/{key_id:str}/rotate",
        summary="Rotate an API key",
        responses=problems(404, 409, 422),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def rotate(
        self,
        key_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        data: Annotated[Rotation | None, Body(examples=[Example(value={"grace_s": 3600})])] = None,
    ) -> IssuedKey:
        """Give the key a new secret, shown this once. The present one stays valid for `grace_s` seconds."""
        _require_power_over(principal, catalog.keys.get(tenant, key_id).scopes)
        grace_s = 0.0 if data is None else data.grace_s
        return catalog.keys.rotate(tenant, key_id, grace_s=grace_s, actor=principal.key_id)

    @post(
        "/{key_id:str}/revoke",
        summary="Revoke an API key",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def revoke(
        self, key_id: FromPath[str], catalog: Catalogued, principal: Asking, tenant: Acting
    ) -> Key:
        """End a key at once and for good."""
        _require_power_over(principal, catalog.keys.get(tenant, key_id).scopes)
        return catalog.keys.revoke(tenant, key_id, actor=principal.key_id)


def _require_power_over(principal: Principal, scopes: Sequence[Scope]) -> None:
    """Nobody makes, renews or ends a key that can do more than the one in hand."""
    for scope in scopes:
        principal.require(scope)
