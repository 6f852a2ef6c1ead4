"""A deterministic simulation of the whole loop.

The composition root, every slice and every thread run as in production, over engines in memory that lose what was not
synced. A seed decides which requests come, how the threads interleave at locks and at calls of engines, when clocks jump,
engines refuse and the process dies; after each restart the invariants are checked. A schedule that violates one is shrunk
and printed as a text that `replay` runs again.
"""

from __future__ import annotations

from .invariants import INVARIANTS, Invariant
from .operations import OPERATIONS, Operation
from .schedule import Failure, Schedule, Simulation, Step, explore, replay
from .world import Book, Clients, Violated, World

__all__ = [
    "INVARIANTS",
    "OPERATIONS",
    "Book",
    "Clients",
    "Failure",
    "Invariant",
    "Operation",
    "Schedule",
    "Simulation",
    "Step",
    "Violated",
    "World",
    "explore",
    "replay",
]
