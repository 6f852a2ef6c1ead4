"""The items of a batch, undecoded, so that a faulty one is refused alone."""

from __future__ import annotations

import json
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .rewards import BATCH_LIMIT


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=BATCH_LIMIT)]


_envelope: Final = msgspec.json.Decoder(_Envelope).decode


def raw_items(body: bytes) -> list[msgspec.Raw]:
    """Return the items of `{"items": […]}`, one to a thousand.

    Raises `msgspec.ValidationError` when the body is no such batch, and `msgspec.DecodeError`, `UnicodeDecodeError` or
    `RecursionError` when it is not JSON in UTF-8.
    """
    try:
        return _envelope(body).items
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        items = _split_leniently(body)
        if items is None:
            raise
        return items


def _split_leniently(body: bytes) -> list[msgspec.Raw] | None:
    """Return the items of a batch that msgspec refuses as a whole; None when it is no batch for `json` either.

    msgspec checks escapes also inside of values that it does not decode, so half a surrogate pair in one item would
    refuse all. `json` reads it, and writes it back as the same escape, so that decoding this item fails and no other.
    """
    try:
        batch = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(batch, dict) or batch.keys() != {"items"}:
        return None
    items = batch["items"]
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH_LIMIT:
        return None
    return [msgspec.Raw(json.dumps(item).encode()) for item in items]
