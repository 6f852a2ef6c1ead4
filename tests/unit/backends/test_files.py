from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.backends.files import DirectoryLock, FolderBlobStore, FolderLease
from loopwright.core.errors import DirectoryLocked, DiskFull


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".", "a/.partial-x", "a\0b"]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    store = FolderBlobStore(tmp_path)
    with pytest.raises(ValueError, match="blob name"):
        store.put(name, b"")
    with pytest.raises(ValueError, match="blob name"):
        store.get(name)


def test_what_a_killed_writer_left_behind_is_no_blob(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    (tmp_path / ".partial-abc").write_bytes(b"half")
    store.put("whole", b"all")
    assert list(store.names()) == ["whole"]


def test_a_taken_name_leaves_no_partial_file(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    store.put("a", b"1")
    assert store.put("a", b"2") is False
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


FILL_THE_DISK = """
import resource, sys
from loopwright.backends.files import FolderBlobStore
from loopwright.core.errors import DiskFull

store = FolderBlobStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put("large", bytes(200_000))
except DiskFull:
    print(store.get("large"), list(store.names()))
"""


def test_a_blob_that_does_not_fit_the_disk_is_not_stored(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "None []"
    assert list(tmp_path.iterdir()) == []
    assert DiskFull.status == 507


HOLD_THE_LOCK = """
import sys
from loopwright.backends.files import DirectoryLock

lock = DirectoryLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DirectoryLocked, match=f"in use by process {holder.pid};"):
            DirectoryLock(tmp_path)
        holder.kill()
    with DirectoryLock(tmp_path):
        pass


def test_a_released_directory_can_be_locked_again(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path), pytest.raises(DirectoryLocked):
        DirectoryLock(tmp_path)
    DirectoryLock(tmp_path).release()


def forked(do: Callable[[], object]) -> tuple[int, int]:
    """Fork a child that does something and then stays until the pipe is closed; return its pid and the pipe."""
    stays, told = os.pipe()
    ready, says = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        do()
        os.write(says, b".")
        os.read(stays, 1)
        os._exit(0)
    os.read(ready, 1)
    for end in (stays, ready, says):
        os.close(end)
    return child, told


def test_a_released_directory_can_be_locked_while_a_forked_child_lives(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    child, pipe = forked(lambda: None)
    try:
        lock.release()
        DirectoryLock(tmp_path).release()
    finally:
        os.close(pipe)
        os.waitpid(child, 0)


def test_a_forked_child_cannot_let_its_parents_directory_go(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    child, pipe = forked(lock.release)
    try:
        with pytest.raises(DirectoryLocked):
            DirectoryLock(tmp_path)
    finally:
        os.close(pipe)
        os.waitpid(child, 0)
        lock.release()
    lock.release()  # a second time changes nothing


def test_a_released_lease_can_be_taken_while_a_forked_child_lives(tmp_path: Path) -> None:
    leases = FolderLease(tmp_path)
    epoch = leases.acquire("loader", ttl_s=1)
    assert epoch is not None
    child, pipe = forked(lambda: None)
    try:
        leases.release("loader", epoch)
        other = FolderLease(tmp_path)
        assert other.acquire("loader", ttl_s=1) == epoch + 1
        other.release("loader", epoch + 1)
    finally:
        os.close(pipe)
        os.waitpid(child, 0)
