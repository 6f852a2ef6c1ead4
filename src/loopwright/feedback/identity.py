"""What makes a fact the same fact: its name, and the key under which the log stores it once.

`docs/explanation/identity.md` is this module in words. Keys have 24 bytes and begin with a time where the fact's identity
has one, so that the log's key index grows near its end. Each name space is hashed with a `person` of its own, so a key
of one cannot be a key of another.
"""

from __future__ import annotations

import re
import struct
from hashlib import blake2b
from typing import Any, Final

import msgspec

from loopwright.core.clock import DAY_MS

_encode: Final = msgspec.msgpack.Encoder().encode

# The conditional `(?(1)\})` asks for a closing brace only after an opening one.
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?(\{)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})(?(1)\})",
    re.IGNORECASE,
)
_NO_TIME: Final = bytes(6)


def canonical(event_id: str) -> str:
    """Return the one spelling of an event id that stands for all of them.

    White space around it does not count, and a UUID is 32 lower-case digits however it was written.

    >>> canonical(" urn:uuid:018F2C5E-8B1A-7C3D-9E4F-5A6B7C8D9E0F ")
    '018f2c5e8b1a7c3d9e4f5a6b7c8d9e0f'
    """
    event_id = event_id.strip()
    found = _UUID.fullmatch(event_id)
    return event_id if found is None else "".join(found.group(2, 3, 4, 5, 6)).lower()


def event_key(tenant_id: str, name: str) -> bytes:
    """Return the key of a fact by its `canonical` event id, and by nothing else of it."""
    near = _NO_TIME
    if len(name) == 32 and name[12] == "7" and _UUID.fullmatch(name) is not None:
        # The time in a UUIDv7: part of the id, so always the same.
        near = bytes.fromhex(name[:12])
    said = f"{tenant_id}\0{name}".encode("utf-8", "surrogatepass")
    return near + blake2b(said, digest_size=18, person=b"event").digest()


def inside_key(head: bytes, place: int) -> bytes:
    """Return the key of the fact at a place (from 1) inside the item whose first fact has the key `head`."""
    said = head + place.to_bytes(4, "big")
    return head[:6] + blake2b(said, digest_size=18, person=b"inside").digest()


def word_key(keyed: blake2b, near: bytes, *said: Any) -> bytes:
    """Return the key of a fact without an event id, by what tells it from others; `keyed` is a hash with a tenant's key."""
    # A copy of the keyed state: hashing the block that holds the key again would cost as much as the item.
    hashed = keyed.copy()
    hashed.update(_encode(said))
    return near + hashed.digest()


def content_of(*said: Any) -> bytes:
    """Return the eight bytes by which the log tells the same content from other content."""
    return blake2b(_encode(said), digest_size=8, person=b"content").digest()


def reward_content(value: float) -> bytes:
    """Return the content of a reward: its value, whichever way it came."""
    # Adding 0.0 makes 0.0 of -0.0: they are one reward.
    return struct.pack(">d", value + 0.0)


def holder(name: str) -> bytes:
    """Return four bytes for the event that holds the key of a reward, to tell its repetition from another event's."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4, person=b"holder").digest()


def reward_key(decision_id: str, identity: str) -> bytes:
    """Return the key of a decision's reward; it begins with the decision's time."""
    said = identity.encode("utf-8", "surrogatepass")
    return bytes.fromhex(decision_id) + blake2b(said, digest_size=8).digest()


def key_of(tenant_id: str, event_id: str, near_ms: int) -> bytes:
    """Return the key of a fact that follows from a session, by an id of ours and the session's time.

    Until December 2026 it was the key of every fact with an event id, of those inside others too.
    """
    said = f"{tenant_id}\0{event_id}".encode("utf-8", "surrogatepass")
    return near_ms.to_bytes(6, "big") + blake2b(said, digest_size=18).digest()


def former_keys(tenant_id: str, event_id: str, at_ms: int | None) -> tuple[bytes, ...]:
    """Return the keys that a fact with this event id had until December 2026: by its day, or without a time."""
    undated = key_of(tenant_id, event_id, 0)
    if at_ms is None:
        return (undated,)
    return undated, key_of(tenant_id, event_id, at_ms - at_ms % DAY_MS)
