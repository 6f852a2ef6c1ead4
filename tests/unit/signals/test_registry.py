from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.signals.world import START, fitted

from loopwright.backends.files import FolderBlobStore
from loopwright.backends.memory import MemoryBlobStore
from loopwright.core.errors import Broken, Invalid, NotFound
from loopwright.core.ports import BlobStore
from loopwright.signals.registry import Surrogates


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return FolderBlobStore(tmp_path) if request.param == "folder" else MemoryBlobStore()


def test_the_surrogate_stored_last_is_the_current_one(blobs: BlobStore) -> None:
    surrogates = Surrogates(blobs)
    with pytest.raises(NotFound, match="loopwright calibrate"):
        surrogates.current("default", "support")
    assert surrogates.newest("default", "support") is None
    first, second = fitted(), fitted(now_ms=START + 1)
    for made in (first, second, first):
        surrogates.store("default", made)
        assert surrogates.current("default", "support") == made
        assert Surrogates(blobs).current("default", "support") == made
    assert surrogates.newest("default", "support") == 3
    with pytest.raises(NotFound):
        surrogates.current("other", "support")


def test_another_process_that_stores_one_is_noticed(blobs: BlobStore) -> None:
    ours, theirs = Surrogates(blobs), Surrogates(blobs)
    ours.store("default", fitted())
    theirs.store("default", made := fitted(now_ms=START + 1))
    assert ours.newest("default", "support") == 2
    assert ours.current("default", "support") == made


class LosesTheLastPut:
    """A blob store whose process dies before its next pointer is stored."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    def put(self, name: str, content: bytes) -> bool:
        if "/current" in name:
            raise OSError("killed")
        return self.blobs.put(name, content)

    def get(self, name: str) -> bytes | None:
        return self.blobs.get(name)

    def names(self, prefix: str = "") -> Iterator[str]:
        return self.blobs.names(prefix)

    def delete(self, name: str) -> None:
        self.blobs.delete(name)


def test_a_crash_before_the_pointer_leaves_the_old_surrogate_in_force(blobs: BlobStore) -> None:
    Surrogates(blobs).store("default", old := fitted())
    new = fitted(now_ms=START + 1)
    with pytest.raises(OSError, match="killed"):
        Surrogates(LosesTheLastPut(blobs)).store("default", new)
    assert Surrogates(blobs).current("default", "support") == old
    Surrogates(blobs).store("default", new)
    assert Surrogates(blobs).current("default", "support") == new


def test_writers_at_once_leave_one_current_surrogate_and_no_gap(blobs: BlobStore) -> None:
    made = [fitted(now_ms=START + k) for k in range(8)]
    threads = [
        threading.Thread(target=Surrogates(blobs).store, args=("default", one)) for one in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    surrogates = Surrogates(blobs)
    assert surrogates.newest("default", "support") == len(made)
    assert surrogates.current("default", "support") in made


def test_a_folder_with_a_single_pointer_file_is_read_as_it_is(tmp_path: Path) -> None:
    old, new = fitted(), fitted(now_ms=START + 1)
    folder = tmp_path / "default" / "support"
    folder.mkdir(parents=True)
    (folder / f"{old.version}.json").write_bytes(msgspec.json.encode(old))
    (folder / "current").write_bytes(msgspec.json.encode({"version": old.version}))
    surrogates = Surrogates(FolderBlobStore(tmp_path))
    assert surrogates.newest("default", "support") == 0
    assert surrogates.current("default", "support") == old
    surrogates.store("default", new)
    assert Surrogates(FolderBlobStore(tmp_path)).current("default", "support") == new


def test_names_of_any_letters_stay_inside_their_folder(tmp_path: Path) -> None:
    surrogates = Surrogates(FolderBlobStore(tmp_path))
    odd = fitted(task="../a/b")
    assert surrogates.store("..", odd) == f"%2E%2E/%2E%2E%2Fa%2Fb/{odd.version}.json"
    assert surrogates.current("..", "../a/b") == odd
    with pytest.raises(Invalid, match="folder"):
        surrogates.current("default", "\u0436" * 100)


@pytest.mark.parametrize("content", [b"{}", b"", msgspec.json.encode(fitted(task="other"))])
def test_a_surrogate_that_is_not_whole_is_refused(tmp_path: Path, content: bytes) -> None:
    surrogates = Surrogates(FolderBlobStore(tmp_path))
    path = tmp_path / surrogates.store("default", fitted())
    path.write_bytes(content)
    with pytest.raises(Broken, match="calibrate again"):
        surrogates.current("default", "support")
    path.unlink()
    with pytest.raises(Broken, match="is missing"):
        surrogates.current("default", "support")
