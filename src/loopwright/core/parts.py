"""Immutable parts, and the numbered manifests that say which of them count.

A set of files grows in one atomic step: store the new parts, then publish the next manifest, which names all parts
that count from now on. A part that no manifest names does not exist, so a crash between the steps leaves the set as
it was. The only thing that a store has to promise is that of two writers of one name exactly one wins
(`BlobStore.put`): a folder promises it by a hard link, S3 by a conditional put.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Self, TypeVar

import msgspec

from .errors import Broken, StaleVersion
from .ports import BlobStore

PREFIX: Final = "manifests/n"
"""Where a store keeps its manifests. The folder is the one that the segments' manifests of earlier versions, named by
bare digits, are in: backups that copy it go on to be whole."""

KEPT: Final = 16
"""Manifests that `tidy` leaves: readers that list, then open, one that was just replaced still find it."""


class ManifestUnreadable(Broken):
    """A manifest is damaged, or was published by a newer program."""

    code = "manifest_unreadable"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable file of a set: rows of a run of the log."""

    name: str
    """Under which the store has it."""
    rows: int
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the file, hexadecimal."""
    first: int
    """Least log offset in it."""
    last: int
    """Greatest log offset in it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a set of parts. Subclasses narrow `parts` to their own kind and add what else changes with it."""

    format: int = 1
    """Layout of the manifest and its parts; a reader refuses what is newer than it."""
    number: int = 0
    """Grows by one with each publication; 0 stands for nothing published yet."""
    parents: tuple[str, ...] = ()
    """Digests of the manifests that this one was made from: its lineage."""
    parts: tuple[Part, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of its content, hexadecimal: what others name it by as a parent."""
        return hashlib.sha256(_encode(self)).hexdigest()

    def following(self, **changes: Any) -> Self:
        """Return the manifest that is to be published after this one."""
        # Number 0 is never stored, so it cannot be a parent.
        parents = (self.digest,) if self.number else self.parents
        return msgspec.structs.replace(self, number=self.number + 1, parents=parents, **changes)


class _Format(msgspec.Struct):
    """What is read first of a manifest: later layouts may share nothing else."""

    format: int = 1


M = TypeVar("M", bound=Manifest)
T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


def newest_number(blobs: BlobStore) -> int:
    """Return the number of the newest manifest; 0 when none is published."""
    return max(_numbers(blobs), default=0)


def newest(blobs: BlobStore, kind: type[M], *, format: int = 1) -> M | None:
    """Return the newest manifest; None when none is published.

    Raises `ManifestUnreadable` when it is damaged or has a later format than `format`.
    """
    while True:
        number = newest_number(blobs)
        if number == 0:
            return None
        content = blobs.get(name_of(number))
        if content is not None:
            return decode(content, kind, format=format, name=name_of(number))
        # Tidied away since it was listed: there are newer ones.


def publish(blobs: BlobStore, manifest: Manifest, *, expect: int) -> None:
    """Publish `manifest`, whose number is `expect` + 1, durably: all readers see it, or, after a crash, none.

    Raises `StaleVersion`, changing nothing, unless number `expect` is the newest.
    """
    if manifest.number != expect + 1:
        raise ValueError(f"manifest {manifest.number} cannot follow number {expect}")
    found = newest_number(blobs)
    if found == expect and blobs.put(name_of(manifest.number), _encode(manifest)):
        # The put alone does not prove that the writer was up to date: a number that was tidied away is free again.
        found = newest_number(blobs)
        if found < manifest.number + KEPT:
            return
        # While this writer slept, others published so many that its number was free again. It was never the newest.
        blobs.delete(name_of(manifest.number))
    else:
        found = max(newest_number(blobs), found)
    raise StaleVersion(
        f"manifest {found} was published meanwhile; expected number {expect}: read it and try again",
        expected=expect,
        found=found,
    )


def tidy(blobs: BlobStore) -> None:
    """Delete all but the newest `KEPT` manifests."""
    # Oldest first: after a crash in between, those that are left are still the newest.
    for number in sorted(_numbers(blobs))[:-KEPT]:
        blobs.delete(name_of(number))


def decode(content: bytes, kind: type[T], *, format: int, name: str) -> T:
    """Return the manifest that `content`, called `name`, holds. Raises `ManifestUnreadable`."""
    try:
        # The format before the rest: a newer layout should ask for an upgrade, not look like damage.
        found = msgspec.json.decode(content, type=_Format).format
        if found <= format:
            return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ManifestUnreadable(f"{name} cannot be read: {error}") from error
    raise ManifestUnreadable(
        f"{name} has format {found}; this program reads up to {format}: upgrade Loopwright",
        found=found,
        expected=format,
    )


def name_of(number: int) -> str:
    """Return the name of the manifest with that number: names sort as numbers do."""
    return f"{PREFIX}{number:012}.json"


def _numbers(blobs: BlobStore) -> list[int]:
    numbers = (name[len(PREFIX) : -len(".json")] for name in blobs.names(PREFIX))
    return [int(number) for number in numbers if number.isdecimal()]
