"""The kit for tests of Loopwright and of packages built on it: a clock that you move by hand, the checks that every
policy and every engine passes, and in `loopwright.testing.simulation` the simulation of the whole loop."""

from __future__ import annotations

from .clock import ManualClock
from .database import check_database
from .engines import check_columnar, check_lease, check_query_engine
from .policies import check_policy
from .ports import check_blob_store, check_event_log, check_keys
from .snapshots import check_snapshot_store

__all__ = [
    "ManualClock",
    "check_blob_store",
    "check_columnar",
    "check_database",
    "check_event_log",
    "check_keys",
    "check_lease",
    "check_policy",
    "check_query_engine",
    "check_snapshot_store",
]
