"""Engines that keep everything in memory: for tests, trials and notebooks."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loopwright.core.ports import (
    Batch,
    Fresh,
    KeyTaken,
    Offset,
    Revised,
    SnapshotKey,
    Versioned,
)

from .sqlite import SqliteDatabase


class MemoryEventLog:
    """An event log that lasts as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._keys: dict[bytes, bytes | None] = {}
        self._head = Offset(0)

    def append(
        self,
        body: bytes,
        *,
        count: int,
        version: int,
        keys: Fresh,
        revised: Revised | None = None,
    ) -> Offset:
        """Store one batch and its keys; return its first offset. Raises `KeyTaken`, storing nothing."""
        revised = revised or {}
        with self._lock:
            # Checked before anything changes, under one lock: as with an engine on disk, a batch is stored
            # whole or not at all.
            taken = {key: self._keys[key] for key in keys if key in self._keys}
            taken |= {
                key: self._keys.get(key)
                for key, (before, _) in revised.items()
                if self._keys.get(key) != before
            }
            if taken:
                raise KeyTaken(taken)
            batch = Batch(first=Offset(self._head + 1), count=count, version=version, body=body)
            self._keys.update(keys if isinstance(keys, Mapping) else dict.fromkeys(keys))
            self._keys.update((key, after) for key, (_, after) in revised.items())
            self._batches.append(batch)
            self._head = batch.last
            return batch.first

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Store those of `keys` that are new; return those that were there before."""
        with self._lock:
            found = self._keys.keys() & set(keys)
            self._keys.update(dict.fromkeys(set(keys) - found))
            return found

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are already stored."""
        with self._lock:
            return self._keys.keys() & set(keys)

    def read(self, after: Offset, *, limit: int) -> list[Batch]:
        """Return whole batches that hold records beyond `after`, oldest first, up to about `limit` records."""
        with self._lock:
            # Batches lie in the order of their offsets, so the search need not pass over a long log for each
            # read.
            start = bisect_right(self._batches, after, key=lambda batch: batch.last)
            found: list[Batch] = []
            for batch in self._batches[start:]:
                found.append(batch)
                if batch.last - max(after, found[0].first - 1) >= limit:
                    break
            return found

    def head(self) -> Offset:
        """Return the offset of the newest record; 0 when there is none."""
        return self._head

    def trim(self, through: Offset) -> int:
        """Drop whole batches whose last offset is at most `through`; keys stay. Return records dropped."""
        with self._lock:
            end = bisect_right(self._batches, through, key=lambda batch: batch.last)
            dropped = sum(batch.count for batch in self._batches[:end])
            del self._batches[:end]
            return dropped

    def replace(self, batches: Iterable[Batch]) -> bool:
        """Put the body and version of each of `batches` in the place of those of the batch with its first offset."""
        for batch in batches:
            with self._lock:
                place = bisect_right(self._batches, batch.first - 1, key=lambda found: found.last)
                found = self._batches[place : place + 1]
                if found and (found[0].first, found[0].count) == (batch.first, batch.count):
                    self._batches[place] = batch
        return True

    def close(self) -> None:
        """Release the engine; the records stay readable until it is garbage."""


class MemoryBlobStore:
    """Named immutable bytes in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> bool:
        """Store `content` under `name`; False, changing nothing, when the name is taken."""
        with self._lock:
            if name in self._blobs:
                return False
            self._blobs[name] = content
            return True

    def get(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        return self._blobs.get(name)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the stored names that start with `prefix`, sorted."""
        # A copy: another thread may put a blob while the caller iterates.
        yield from sorted(name for name in list(self._blobs) if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove `name` if it is there."""
        self._blobs.pop(name, None)


class MemorySnapshotStore:
    """The newest value of each key in a dictionary, for the threads of one process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[SnapshotKey, tuple[int, Versioned]] = {}
        self._place = 0
        self._is_closed = False

    def put(self, key: SnapshotKey, snapshot: Versioned) -> bool:
        """Store `snapshot`; False, changing nothing, when a newer one is there."""
        with self._changed:
            held = self._held.get(key)
            if held is not None and snapshot.precedes(held[1]):
                return False
            self._place += 1
            self._held[key] = (self._place, snapshot)
            self._changed.notify_all()
            return True

    def get(self, key: SnapshotKey) -> Versioned | None:
        """Return the newest value of `key`."""
        held = self._held.get(key)
        return None if held is None else held[1]

    def watch(self, after: int, *, timeout_s: float) -> tuple[int, list[SnapshotKey]]:
        """Wait until something was put after `after`; return the newest place and the keys put since."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._place != after, timeout_s)
            since = after if after <= self._place else 0
            return self._place, [key for key, (place, _) in self._held.items() if place > since]

    def close(self) -> None:
        """End every wait; the values stay readable until the store is garbage."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def memory_database() -> SqliteDatabase:
    """Return a database that lasts as long as it is open."""
    return SqliteDatabase(":memory:")
