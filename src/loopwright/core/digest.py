"""Keyed digests: what stands for a user id or an address once the value itself may not be kept."""

from __future__ import annotations

import hmac
from typing import Final

from .errors import SettingsInvalid

MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64


def pseudonym(tenant_key: bytes, value: str) -> str:
    """Return 32 hex digits that stand for `value`, such as a user id, as long as the key exists.

    Raises `SettingsInvalid` when the key does not have 16 to 64 bytes.
    """
    check_key(tenant_key)
    message = b"pseudonym\0" + value.encode("utf-8", "surrogatepass")
    return hmac.digest(tenant_key, message, "sha256").hex()[:32]


def check_key(key: bytes) -> None:
    """Raise `SettingsInvalid` when a tenant's key does not have 16 to 64 bytes."""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise SettingsInvalid(
            f"the tenant's redaction key has {len(key)} bytes; "
            f"give {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes"
        )
