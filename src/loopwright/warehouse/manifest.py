"""What the warehouse consists of, in one small file that is replaced as a whole.

A manifest names every data file with its rows and digest, and the log offset through which facts are in them:
data and position move in one step, the rename. A file that the manifest does not name does not exist.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from loopwright.core.errors import Broken

from .tables import TABLES_VERSION

NAME: Final = "manifest.json"


class WarehouseCorrupt(Broken):
    """A file of the warehouse is missing or is not what was written; it can be rebuilt from the log."""

    code = "warehouse_corrupt"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable Parquet file: rows of one table that reached us on one day, or in one week that is over."""

    name: str
    table: str
    day: str
    """The first day in it."""
    rows: int
    size: int
    sha256: str
    first: int
    """Least log offset in it."""
    last: int
    from_ms: int
    """Earliest event time in it."""
    to_ms: int
    settled: int = 0
    """Log offset through which erasures and changes of consent are worked into it."""
    until: str = ""
    """The last day in it; empty when that is the first."""
    withheld: int | None = None
    """Rows that the consent given with them keeps out of reports; None when not counted."""


class Dropped(msgspec.Struct, frozen=True):
    """A file that others replaced; it stays a while for whoever is still reading it."""

    name: str
    at_ms: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All files, and how far the log is in them."""

    format: int = TABLES_VERSION
    generation: int = 0
    """Grows with each manifest, and is part of the names of files made after it: no name is used twice."""
    watermark: int = 0
    files: tuple[File, ...] = ()
    dropped: tuple[Dropped, ...] = ()


def read(folder: Path) -> Manifest:
    """Return the manifest of `folder`, an empty one when there is none.

    Raises `WarehouseCorrupt` when it cannot be read, `Broken` when it is newer than this program.
    """
    path = folder / NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise WarehouseCorrupt(
            f"{path} cannot be read: {error}; delete the warehouse's folder, and it is rebuilt from the log"
        ) from error
    if manifest.format > TABLES_VERSION:
        raise Broken(
            f"{path} has tables of version {manifest.format}; this program reads up to {TABLES_VERSION}: "
            "upgrade Loopwright",
            found=manifest.format,
            expected=TABLES_VERSION,
        )
    return manifest


def publish(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of `folder` in one durable step."""
    partial = folder / (NAME + ".partial")
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(manifest))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / NAME)
    sync_folder(folder)


def check(folder: Path, file: File) -> None:
    """Raise `WarehouseCorrupt` unless `file` is there and is what was written."""
    path = folder / file.name
    try:
        found = digest(path)
    except FileNotFoundError:
        raise WarehouseCorrupt(
            f"{path} is missing; delete the warehouse's folder, and it is rebuilt from the log"
        ) from None
    if found != file.sha256:
        raise WarehouseCorrupt(
            f"{path} has digest {found}, not {file.sha256}; delete the warehouse's folder, and it is rebuilt "
            "from the log",
            found=found,
            expected=file.sha256,
        )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
