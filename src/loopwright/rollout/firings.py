"""The log of firings: one JSON object per line, only ever appended to."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger fired."""

    at: str
    """ISO 8601, UTC."""
    tenant_id: str
    reason: str
    since_days: int
    record_count: int
    avg_rating: float | None
    thumbs_down_rate: float | None
    dispatched: str
    """Where it was sent to, why that failed, or `local` when nothing is set to send it to."""


class Firings:
    """Keeps firings in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, firing: Firing) -> None:
        """Add a firing; it is on the disk when this returns."""
        # One write in append mode: two processes cannot interleave their lines. Only the owner may read the file.
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, msgspec.json.encode(firing) + b"\n")
            # Before the caller answers: a firing that is told must be found again after a power cut.
            os.fsync(file)
        finally:
            os.close(file)

    def read(self) -> list[Firing]:
        """Return all firings, oldest first."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Firing) for line in lines if line]
