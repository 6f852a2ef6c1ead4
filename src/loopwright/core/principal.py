"""API keys, roles, and who asks: the tenant and the scopes of a key that was checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

import msgspec

from .errors import Forbidden, NotFound

Scope = Literal["select", "feedback", "read", "review", "manage", "admin", "operator"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

OPERATOR: Final = "operator"
"""The scope of the installation: every tenant, and what belongs to none."""

Role = Literal["product", "viewer", "reviewer", "experimenter", "admin", "operator"]

ROLES: Final[Mapping[Role, tuple[Scope, ...]]] = {
    "product": ("select", "feedback"),
    "viewer": ("read",),
    "reviewer": ("feedback", "read", "review"),
    "experimenter": ("read", "manage"),
    "admin": ("admin",),
    "operator": ("operator",),
}
"""A role is a name for scopes; a key keeps the scopes."""

# `operator` is in no other scope: an admin of one tenant must not become the operator of all.
_GRANTED_BY: Final[Mapping[Scope, frozenset[Scope]]] = {
    "select": frozenset({"admin", "operator"}),
    "feedback": frozenset({"admin", "operator"}),
    "read": frozenset({"admin", "operator"}),
    # Keys from before `review` did with `manage` what it allows.
    "review": frozenset({"manage", "admin", "operator"}),
    "manage": frozenset({"admin", "operator"}),
    "admin": frozenset({"operator"}),
    "operator": frozenset(),
}


def granted(scope: Scope, held: Collection[str]) -> bool:
    """Say whether a key that holds the scopes `held` may do what needs `scope`."""
    return scope in held or not _GRANTED_BY[scope].isdisjoint(held)


def role_of(scopes: Collection[str]) -> Role | None:
    """Return the role that these scopes are; None when they are no role's."""
    return next((role for role, of_it in ROLES.items() if set(of_it) == set(scopes)), None)


OWN_TENANT: Final = "~"
"""Stands in a path for the tenant of the key in use. No id begins with it."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told about an API key. The secret is not in it and cannot be recovered."""

    id: str
    tenant_id: str
    name: str
    scopes: tuple[Scope, ...]
    prefix: str
    """How the key begins; enough to recognise it in a configuration."""
    created_at_ms: int
    rotated_at_ms: int | None = None
    # Both secrets work for a while, so that a key can be rotated without an interruption.
    previous_valid_until_ms: int | None = None
    """Until when the secret before the last rotation still works."""
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    last_used_ms: int | None = None


class StoredKey(msgspec.Struct, frozen=True):
    """A key with the SHA-256 digests of its secrets: all that is kept of them."""

    key: Key
    # Neither salted nor stretched: the secret is 256 random bits, so there is no dictionary to try.
    digest: bytes
    previous_digest: bytes | None = None
    revision: int = 1
    """Grows with every change, so that of two values of one key the later one is known."""


class Principal(msgspec.Struct, frozen=True):
    """Who is asking, and what that key may do.

    `admin` has every scope in its own tenant; `operator` has every scope in every tenant.
    """

    tenant_id: str
    key_id: str
    scopes: frozenset[str]

    @property
    def is_operator(self) -> bool:
        """Whether the key is for the whole installation."""
        return OPERATOR in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` when the key lacks `scope`."""
        if not granted(scope, self.scopes):
            found = sorted(self.scopes)
            raise Forbidden(
                f"this needs the scope '{scope}'; the key has {', '.join(found) or 'none'}: "
                "use another key, or create one with that scope",
                found=found,
                expected=scope,
            )

    def acting_for(self, tenant_id: str | None) -> str:
        """Return the tenant to act for: the key's own, or any for the operator.

        Raises `NotFound` for another tenant's key, so that it learns nothing about other tenants.
        """
        if tenant_id in (None, OWN_TENANT, self.tenant_id):
            return self.tenant_id
        if not self.is_operator:
            raise NotFound(f"there is no tenant '{tenant_id}'")
        return tenant_id
