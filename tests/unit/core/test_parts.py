from __future__ import annotations

import threading

import pytest

from loopwright.backends.memory import MemoryBlobStore
from loopwright.core import parts
from loopwright.core.errors import StaleVersion
from loopwright.core.parts import Manifest, ManifestUnreadable, Part


def part(n: int) -> Part:
    return Part(name=f"facts/{n}", rows=1, size=10, digest=f"{n:064x}", first=n, last=n)


def grown(blobs: MemoryBlobStore, found: Manifest, *more: Part) -> Manifest:
    new = found.following(parts=(*found.parts, *more))
    parts.publish(blobs, new, expect=found.number)
    return new


def test_the_newest_manifest_counts_and_names_the_one_it_was_made_from() -> None:
    blobs = MemoryBlobStore()
    assert parts.newest(blobs, Manifest) is None
    first = grown(blobs, Manifest(), part(1))
    second = grown(blobs, first, part(2))
    assert parts.newest(blobs, Manifest) == second
    assert (second.number, second.parts) == (2, (part(1), part(2)))
    assert (first.parents, second.parents) == ((), (first.digest,))


def test_a_writer_that_read_an_older_manifest_changes_nothing() -> None:
    blobs = MemoryBlobStore()
    first = grown(blobs, Manifest(), part(1))
    second = grown(blobs, first, part(2))
    with pytest.raises(StaleVersion, match="manifest 2 was published meanwhile; expected number 1"):
        grown(blobs, first, part(3))
    assert parts.newest(blobs, Manifest) == second


def test_of_many_writers_each_publication_has_all_that_were_before_it() -> None:
    blobs, stale = MemoryBlobStore(), list[int]()

    def write(thread: int) -> None:
        for n in range(20):
            while True:
                found = parts.newest(blobs, Manifest) or Manifest()
                try:
                    grown(blobs, found, part(100 * thread + n))
                except StaleVersion:
                    stale.append(thread)
                else:
                    break

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = parts.newest(blobs, Manifest)
    assert found is not None
    assert found.number == 80
    assert {p.first for p in found.parts} == {100 * t + n for t in range(4) for n in range(20)}


def test_a_number_that_was_tidied_away_is_not_published_again() -> None:
    class Sleepy(MemoryBlobStore):
        """Lets others publish and tidy between what a writer looked at and what it writes."""

        def put(self, name: str, content: bytes) -> bool:
            if self.sleeps:
                self.sleeps = False
                found = first
                for n in range(2, 4 + parts.KEPT):
                    found = grown(self, found, part(n))
                parts.tidy(self)
            return super().put(name, content)

        sleeps = False

    blobs = Sleepy()
    first = grown(blobs, Manifest(), part(1))
    blobs.sleeps = True
    with pytest.raises(StaleVersion):
        grown(blobs, first, part(99))
    found = parts.newest(blobs, Manifest)
    assert found is not None
    assert part(99) not in found.parts
    assert parts.name_of(2) not in set(blobs.names())


def test_tidying_keeps_the_newest_manifests() -> None:
    blobs, found = MemoryBlobStore(), Manifest()
    for n in range(parts.KEPT + 5):
        found = grown(blobs, found, part(n))
    parts.tidy(blobs)
    assert len(list(blobs.names(parts.PREFIX))) == parts.KEPT
    assert parts.newest(blobs, Manifest) == found


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "cannot be read"), (b'{"format": 2, "parts": 7}', "upgrade")]
)
def test_a_manifest_that_cannot_be_read_is_refused(content: bytes, said: str) -> None:
    blobs = MemoryBlobStore()
    grown(blobs, Manifest())
    blobs.put(parts.name_of(2), content)
    with pytest.raises(ManifestUnreadable, match=said):
        parts.newest(blobs, Manifest)
