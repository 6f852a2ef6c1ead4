"""Event logs in SQLite for tests: filled ones, and copies as a crash leaves them."""

from __future__ import annotations

import shutil
from pathlib import Path

from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.events import Fact, Ticked


def fill(log: SqliteEventLog, batches: int, *, size: int = 5, start: int = 0) -> None:
    for n in range(start, start + batches):
        facts: list[Fact] = [Ticked(at_ms=n, tenant_id="t" * 100)] * size
        keys = [b"%012d%012d" % (n, i) for i in range(size)]
        log.append(upcast.encode(facts), count=size, version=upcast.SCHEMA_VERSION, keys=keys)


def crashed_copy(path: Path, to: Path) -> Path:
    """The files as a killed process leaves them: not closed, the newest facts only in the write-ahead log."""
    to.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{to / path.name}{suffix}")
    return to / path.name
