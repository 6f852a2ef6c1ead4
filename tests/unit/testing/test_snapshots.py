"""The contract suite of stores of snapshots catches a store that breaks a promise."""

from __future__ import annotations

import pytest

from loopwright.backends.memory import MemorySnapshotStore
from loopwright.core.ports import SnapshotKey, Versioned
from loopwright.testing import check_snapshot_store


def test_a_store_that_goes_back_to_older_values_is_caught() -> None:
    class GoesBack(MemorySnapshotStore):
        def put(self, key: SnapshotKey, snapshot: Versioned) -> bool:
            self.held = {**getattr(self, "held", {}), key: snapshot}
            super().put(key, snapshot)
            return True

        def get(self, key: SnapshotKey) -> Versioned | None:
            found: Versioned | None = getattr(self, "held", {}).get(key)
            return found

    with pytest.raises(AssertionError):
        check_snapshot_store(GoesBack)


def test_a_store_that_names_a_key_again_is_caught() -> None:
    class NamesAgain(MemorySnapshotStore):
        def watch(self, after: int, *, timeout_s: float) -> tuple[int, list[SnapshotKey]]:
            return super().watch(0, timeout_s=timeout_s)

    with pytest.raises(AssertionError):
        check_snapshot_store(NamesAgain)
