"""Reading facts of every schema version.

A record batch is written in the current version. Reading an older one decodes it to plain lists, walks each
fact through the upcasters (version n to n + 1), and converts the result. A newer one is refused: this
program would have to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from .errors import LogCorrupt
from .events import Fact

SCHEMA_VERSION: Final = 1

Upcaster = Callable[[list[Any]], list[Any]]
"""Turns one fact of version n, a list whose first item is its kind, into version n + 1."""

# Empty while there is one version. Released entries stay for good: archived segments keep their version.
UPCASTERS: Final[Mapping[int, Upcaster]] = {}

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Fact])
# Facts of older versions do not fit the present types, so they are decoded to lists first.
_untyped: Final = msgspec.msgpack.Decoder(list[list[Any]])


def encode(facts: Sequence[Fact]) -> bytes:
    """Return `facts` as one record batch of the current schema version."""
    return _encoder.encode(facts)


def decode(
    batch: bytes,
    *,
    version: int = SCHEMA_VERSION,
    upcasters: Mapping[int, Upcaster] = UPCASTERS,
    current: int = SCHEMA_VERSION,
) -> list[Fact]:
    """Return the facts of a record batch that was written in schema `version`.

    Raises `LogCorrupt` when the batch cannot be read or is newer than this program.
    """
    # Fields that this program does not know would be dropped in silence, and learned states differ.
    if version > current:
        raise LogCorrupt(
            f"the log holds facts of schema version {version}; this program reads up to {current}: "
            "upgrade Loopwright",
            found=version,
            expected=current,
        )
    try:
        if version == current:
            return _decoder.decode(batch)
        facts = _untyped.decode(batch)
        for step in range(version, current):
            if step not in upcasters:
                raise LogCorrupt(
                    f"a record batch names schema version {version}, which never was",
                    found=version,
                    expected=current,
                )
            facts = [upcasters[step](fact) for fact in facts]
        return msgspec.convert(facts, list[Fact])
    except (
        ValueError,
        LookupError,
    ) as error:  # not MessagePack, not UTF-8, or not shaped as expected
        raise LogCorrupt(f"a record batch cannot be decoded: {error}") from error
