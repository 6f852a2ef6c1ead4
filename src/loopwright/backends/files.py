"""A folder as blob store, its locks, and scratch folders for files that live no longer than their owner."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

from loopwright.core.errors import DirectoryLocked, DiskFull, LoopError, Unavailable

SCRATCH: Final = ".scratch"
"""Folder, beside the stored files, for files that live no longer than their owner."""

_PARTIAL: Final = ".partial-"
# A quota and a limit on file sizes look like a full disk to the caller, and the same remedy helps.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FolderBlobStore:
    """Named immutable bytes, each a file under `root`; a slash in a name makes a folder.

    `put` writes beside the final name, syncs and links, so a name holds its whole content or nothing, and of
    two writers of one name exactly one wins.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        with translated(self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, name: str, content: bytes) -> bool:
        """Store `content` durably under `name`; False, changing nothing, when the name is taken."""
        path = self._path(name)
        with translated(path):
            make_folders(path.parent)
            # In the folder of the final name, because a hard link cannot cross file systems.
            descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    # Before the name exists: after a power cut, a name whose bytes were not on the disk could
                    # stand for zeros.
                    os.fsync(file.fileno())
                # Not a rename, which would silently replace what another writer stored under the name.
                os.link(partial, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(partial)
            fsync_directory(path.parent)
        return True

    def get(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        path = self._path(name)
        with translated(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the stored names that start with `prefix`, sorted."""
        with translated(self._root):
            # Only the folder that the prefix names: manifests are listed often, and lie beside thousands of files.
            folder = self._root.joinpath(*prefix.split("/")[:-1])
            found = [
                path.relative_to(self._root)
                for path in folder.rglob("*")
                if path.is_file() and not path.name.startswith(_PARTIAL)
            ]
        names = (path.as_posix() for path in found if path.parts[0] != SCRATCH)
        yield from sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove `name` if it is there."""
        path = self._path(name)
        with translated(path):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            fsync_directory(path.parent)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if parts[0] == SCRATCH or any(
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
        with translated(path):
            # Opened without truncating, because a refused process still reads there who holds the lock.
            self._file = path.open("a+", encoding="ascii")
            is_ours = _locked(self._file)
        if not is_ours:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryLocked(
                f"{directory} is in use by process {holder}; stop it, or serve from another directory",
                holder=holder,
            )
        self._owner = os.getpid()
        self._file.truncate(0)
        self._file.write(str(self._owner))
        self._file.flush()

    def release(self) -> None:
        """Let the directory go, also when a forked child has inherited the file; in the child nothing is let go."""
        _unlocked(self._file, self._owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class FolderLease:
    """Leases among the processes of one machine: each name is a locked file in `folder`, which holds the latest epoch.

    A holder that lives keeps its lease however long it takes; the operating system drops the lock of one that dies, so
    no lease has to run out.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._owner = os.getpid()
        self._held: dict[str, tuple[int, IO[str]]] = {}

    def acquire(self, name: str, *, ttl_s: float) -> int | None:
        """Take the lease; return its epoch, or None while another holds it."""
        path = self._folder / f"{name}.lock"
        with translated(path):
            make_folders(self._folder)
            file = path.open("a+", encoding="ascii")
            if not _locked(file):
                file.close()
                return None
            file.seek(0)
            # An empty file is one whose first holder died before it wrote; its epoch was never used.
            said = file.read().strip()
            epoch = int(said) + 1 if said.isdecimal() else 1
            file.truncate(0)
            file.write(str(epoch))
            file.flush()
            os.fsync(file.fileno())
        # Only now, with the epoch on the disk: the holder after a crash must get a greater one.
        self._held[name] = epoch, file
        return epoch

    def renew(self, name: str, epoch: int, *, ttl_s: float) -> bool:
        """Return whether it is still held."""
        return name in self._held and self._held[name][0] == epoch

    def release(self, name: str, epoch: int) -> None:
        """Let it go; nothing happens when it is not held."""
        if self.renew(name, epoch, ttl_s=0):
            _unlocked(self._held.pop(name)[1], self._owner)


class Scratch:
    """A private folder under `root` for files that live no longer than this object.

    It holds a lock on its folder, which the operating system drops when the process dies. The next `Scratch` under the
    same root removes the folders whose lock is free, so it never removes a file of a living owner.
    """

    def __init__(self, root: str | Path) -> None:
        home = Path(root) / SCRATCH
        with translated(home):
            make_folders(home)
            with (home / "lock").open("a") as gate:
                # Between the making of a folder and its lock nobody may look for folders without one.
                fcntl.flock(gate, fcntl.LOCK_EX)
                _sweep(home)
                self.folder = Path(tempfile.mkdtemp(prefix="own-", dir=home))
                self._lock = (self.folder / "lock").open("a")
                fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder and all in it."""
        # Before the lock goes, so that the folder never looks abandoned while it is being removed.
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _sweep(home: Path) -> None:
    for folder in home.glob("own-*"):
        try:
            lock = (folder / "lock").open("r+")
        except FileNotFoundError:
            # Its maker was killed before it had the lock, or its owner is removing it.
            shutil.rmtree(folder, ignore_errors=True)
            continue
        with lock:
            if _locked(lock):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(file: IO[str]) -> bool:
    try:
        # `flock` and not `lockf`: it belongs to the open file, so two holders in one process exclude each other
        # too, and closing another descriptor of the file does not drop it.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlocked(file: IO[str], owner: int) -> None:
    """Give up the lock of `file` and close it; a process other than `owner` only closes it."""
    # A lock belongs to the open file, which a fork shares (flock(2)): closing our descriptor leaves it locked as long
    # as a child has its own, and unlocking in a child would take it from the parent.
    if not file.closed and os.getpid() == owner:
        fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


@contextmanager
def translated(what: Path) -> Iterator[None]:
    """Turn what the operating system refuses into errors that say what to do."""
    try:
        yield
    except OSError as error:
        raise refusal(error.errno, f"{what}: {error.strerror or error}") from error


def refusal(number: int | None, said: str) -> LoopError:
    """Return the error for the error number of the operating system: a full disk, or one that cannot be used."""
    if number in _FULL:
        return DiskFull(f"{said}; free some space")
    return Unavailable(f"{said}; check the disk, the path and its owner")


def fsync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: a synced file whose name is lost is lost."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Make `folder` and its parents, their names durable."""
    if folder.exists():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_directory(folder.parent)
