"""The contract suites of blobs and keys catch a backend that breaks a promise; a failing thread is heard."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from loopwright.backends.memory import MemoryBlobStore, MemoryEventLog
from loopwright.core.ports import Batch, Offset
from loopwright.testing import check_blob_store, check_event_log, check_keys
from loopwright.testing.ports import in_threads


class Overwriting(MemoryBlobStore):
    def put(self, name: str, content: bytes) -> bool:
        self.delete(name)
        return super().put(name, content)


class Unsorted(MemoryBlobStore):
    def names(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(super().names(prefix), reverse=True)


class Unfiltered(MemoryBlobStore):
    def names(self, prefix: str = "") -> Iterator[str]:
        yield from super().names()


@pytest.mark.parametrize("broken", [Overwriting, Unsorted, Unfiltered])
def test_a_blob_store_that_breaks_a_promise_is_caught(broken: type[MemoryBlobStore]) -> None:
    with pytest.raises(AssertionError):
        check_blob_store(broken)


class Torn(MemoryEventLog):
    """Ends a reading within a batch."""

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        return super().read(after, limit=limit)[:1]


class Restarting(MemoryEventLog):
    """Forgets its keys with the records it drops."""

    def trim(self, through: Offset) -> int:
        dropped = super().trim(through)
        self._keys.clear()
        return dropped


@pytest.mark.parametrize("broken", [Torn, Restarting])
def test_a_log_that_breaks_a_promise_is_caught(broken: type[MemoryEventLog]) -> None:
    with pytest.raises(AssertionError):
        check_event_log(broken)


def test_keys_that_are_given_to_two_claims_are_caught() -> None:
    class Generous(MemoryEventLog):
        def claim(self, keys: Sequence[bytes]) -> set[bytes]:
            super().claim(keys)
            return set()

    with pytest.raises(AssertionError):
        check_keys(Generous)


def test_what_fails_in_a_thread_fails_in_the_caller_after_all_threads_have_ended() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        assert threading.current_thread() is not threading.main_thread()
        if number == 1:
            raise KeyError("one of them")
        done.append(number)

    with pytest.raises(KeyError, match="one of them"):
        in_threads(work, 4)
    assert sorted(done) == [0, 2, 3]
