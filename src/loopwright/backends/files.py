"""A folder as blob store, and the lock that keeps a second server out of a data directory."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from loopwright.core.errors import DirectoryLocked, DiskFull

_PARTIAL: Final = ".partial-"


class FolderBlobStore:
    """Named immutable bytes, each a file under `root`; a slash in a name makes a folder.

    `put` writes beside the final name, syncs and links, so a name holds its whole content or nothing, and of
    two writers of one name exactly one wins.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, content: bytes) -> bool:
        """Store `content` durably under `name`; False, changing nothing, when the name is taken."""
        path = self._path(name)
        _make_folders(path.parent)
        descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(f"{path}: {error.strerror}; free some space") from error
            raise
        finally:
            os.unlink(partial)
        fsync_directory(path.parent)
        return True

    def get(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the stored names that start with `prefix`, sorted."""
        found = (
            path.relative_to(self._root).as_posix()
            for path in self._root.rglob("*")
            if path.is_file() and not path.name.startswith(_PARTIAL)
        )
        yield from sorted(name for name in found if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove `name` if it is there."""
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return
        fsync_directory(path.parent)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(
            part in ("", ".", "..") or part.startswith(_PARTIAL) or "\0" in part for part in parts
        ):
            raise ValueError(
                f"{name!r} is no blob name: use non-empty parts joined by single slashes"
            )
        return self._root.joinpath(*parts)


class DirectoryLock:
    """Holds a data directory for this process, until `release` or the end of the process.

    Raises `DirectoryLocked` when another process holds it. The operating system drops the lock of a process
    that dies, so nothing stays locked after a crash.
    """

    def __init__(self, directory: str | Path) -> None:
        path = Path(directory) / "lock"
        self._file = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryLocked(
                f"{directory} is in use by process {holder}; stop it, or serve from another directory",
                holder=holder,
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let the directory go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def fsync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: a synced file whose name is lost is lost."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path) -> None:
    if folder.exists():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_directory(folder.parent)
