from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.backends.files import DirectoryLock, FolderBlobStore
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
