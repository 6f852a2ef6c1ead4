"""Keyed digests within one tenant: addresses, and the ids of facts about people."""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Any

import msgspec


def address_pseudonym(key: bytes, address: str) -> str:
    """Return the pseudonym of a network address within one tenant: 32 hexadecimal digits."""
    # JSON may carry lone surrogates, which strict UTF-8 refuses.
    said = address.encode("utf-8", "surrogatepass")
    return hmac.digest(key, b"address\0" + said, "sha256").hex()[:32]


def event_id_of(key: bytes, *parts: Any) -> str:
    """Return an event id made from `parts`: equal parts give the same id, so a repeated request is one fact."""
    # Keyed: without the key nobody can compute the ids of facts about a known person.
    return blake2b(msgspec.msgpack.encode(parts), key=key, digest_size=16).hexdigest()
