"""API keys, and who asks: the tenant and the scopes of a key that was checked."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from .errors import Forbidden, NotFound

Scope = Literal["select", "feedback", "read", "manage", "admin"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


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
    """Who is asking, and what that key may do. `admin` has every scope, in every tenant."""

    tenant_id: str
    key_id: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` when the key lacks `scope`."""
        if scope not in self.scopes and "admin" not in self.scopes:
            found = sorted(self.scopes)
            raise Forbidden(
                f"this needs the scope '{scope}'; the key has {', '.join(found) or 'none'}: "
                "use another key, or create one with that scope",
                found=found,
                expected=scope,
            )

    def acting_for(self, tenant_id: str | None) -> str:
        """Return the tenant to act for: the key's own, or any for an admin.

        Raises `NotFound` when the key lacks `admin`, so that it learns nothing about other tenants.
        """
        if tenant_id is None or tenant_id == self.tenant_id:
            return self.tenant_id
        if "admin" not in self.scopes:
            raise NotFound(f"there is no tenant '{tenant_id}'")
        return tenant_id
