"""File modes of a data directory: secrets and people's words are readable by their owner only."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

FILES: Final = (
    "*.db",
    # SQLite's write-ahead log and its index: they hold rows that the database does not have yet.
    "*.db-wal",
    "*.db-shm",
    "keys.json",
    "webhooks.key",
    "admin.key",
    "lock",
    "address",
    "server.log",
)
"""Secrets, and everything that holds what people said."""
FOLDERS: Final = ("segments", "warehouse", "surrogates")
"""Their own mode protects what is in them."""


def keep_private(folder: Path) -> None:
    """Take every permission on our files in `folder` from others, whatever the mode of the folder itself.

    A folder that was there before, such as one that an operator made with mode 755, keeps its mode: other files
    may be in it. A file of another owner is left alone; `loopwright doctor` names it.
    """
    for path in _paths(folder):
        # The file of another owner, or a -wal that SQLite removed since the folder was listed.
        with suppress(OSError):
            path.chmod(0o700 if path.is_dir() else 0o600)


def loose(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield each path that others can read, with its mode."""
    for path in _paths(folder):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield path, mode


def _paths(folder: Path) -> Iterator[Path]:
    for pattern in FILES:
        yield from sorted(folder.glob(pattern))
    for name in FOLDERS:
        if (folder / name).is_dir():
            yield folder / name
