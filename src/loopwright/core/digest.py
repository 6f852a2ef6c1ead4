"""Keyed digests: what stands for a user id or an address once the value itself may not be kept."""

from __future__ import annotations

import hmac
from typing import Final

from .errors import SettingsInvalid

# 128 bits cannot be searched; 64 bytes are one block of SHA-256. HMAC would hash a longer key first (RFC 2104,
# section 2), and the redactor, which prepares both halves of HMAC itself, does not.
MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64


def pseudonym(tenant_key: bytes, value: str) -> str:
    """Return 32 hex digits that stand for `value`, such as a user id, as long as the key exists.

    Raises `SettingsInvalid` when the key does not have 16 to 64 bytes.
    """
    check_key(tenant_key)
    # The prefix separates this use of the key from its others: an address and a user id that are spelt alike must
    # not share a digest. JSON may carry lone surrogates, which strict UTF-8 refuses.
    message = b"pseudonym\0" + value.encode("utf-8", "surrogatepass")
    # Half of SHA-256 is 128 bits: two users of one tenant do not meet by chance.
    return hmac.digest(tenant_key, message, "sha256").hex()[:32]


def check_key(key: bytes) -> None:
    """Raise `SettingsInvalid` when a tenant's key does not have 16 to 64 bytes."""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise SettingsInvalid(
            f"the tenant's redaction key has {len(key)} bytes; "
            f"give {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes"
        )
