"""API keys: how they are made, what of them is kept, and what they allow.

A key reads `lw_<12 hex digits of its id>_<secret>`. Only its SHA-256 is stored. A slow password hash would
add nothing: the secret has 256 random bits, so there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.principal import ROLES, SCOPES, Key, Scope

SECRET_BYTES: Final = 32
MAX_GRACE_S: Final = 30 * 86_400


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new or rotated key with its plain text, which is shown this once."""

    key: Key
    secret: str


def mint(prefix: str) -> str:
    """Return a new plain-text key that starts with `prefix`."""
    # The one place that draws from the operating system: a secret must never be reproducible.
    return f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"


def prefix_of(key_id: str) -> str:
    """Return how the key with this id begins; the last digits of a UUIDv7 are its random ones."""
    return f"lw_{key_id[-12:]}"


def digest_of(raw: bytes | str) -> bytes:
    """Return what is kept of a plain-text key: its SHA-256."""
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).digest()


def checked_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Return `scopes` once each, in the order of `SCOPES`; raises `Invalid` for none or an unknown one."""
    asked = set(scopes)
    unknown = sorted(asked.difference(SCOPES))
    if unknown or not asked:
        raise Invalid(
            f"scopes are {unknown or 'empty'}; give at least one of {', '.join(SCOPES)}",
            found=unknown,
            expected=list(SCOPES),
        )
    return tuple(scope for scope in SCOPES if scope in asked)


def scopes_of(scopes: Iterable[str] | None, role: str | None) -> tuple[Scope, ...]:
    """Return the scopes of a new key, given by themselves or as a role; raises `Invalid` unless it is one of both."""
    if (scopes is None) == (role is None):
        raise Invalid("give either `role` or `scopes`", expected=["role", "scopes"])
    if scopes is not None:
        return checked_scopes(scopes)
    for name, of_it in ROLES.items():
        if name == role:
            return of_it
    raise Invalid(
        f"role is {role!r}; there are {', '.join(ROLES)}", found=role, expected=list(ROLES)
    )
