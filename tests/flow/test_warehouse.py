"""The warehouse's loader is killed, again and again, in the middle of its work."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.unit.warehouse.world import loader, warehouse

from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.clock import SystemClock
from loopwright.eventlog import Reader
from loopwright.warehouse import manifest

ROUNDS: Final = 6

CHILD: Final = """
import sys
from pathlib import Path
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.clock import SystemClock
from loopwright.core.events import Reported
from loopwright.core.feedback import Note, Rating, Target
from loopwright.eventlog import Reader
from tests.unit.warehouse.world import loader as made

folder = sys.argv[1]
log, clock = SqliteEventLog(folder + "/log.db"), SystemClock()
loader = made(Reader(log), Path(folder) / "warehouse", clock=clock, stretch=300, most_files=3, grace_ms=0)
print("ready", flush=True)
while True:
    head, at = log.head(), clock.now_ms()
    facts = [
        Reported(f"f{head + k}", at - k % 3 * 86_400_000, "acme", Target(), Rating(1.0, "thumbs"), Note(occurred_at_ms=at))
        for k in range(1, 1001)
    ]
    log.append(upcast.encode(facts), count=1000, version=upcast.SCHEMA_VERSION, keys=[])
    if head % 7000 == 0:
        loader.rebuild()
    else:
        loader.run()
"""


def test_a_killed_projection_loses_no_row_and_doubles_none(tmp_path: Path) -> None:
    rng = random.Random(5)
    for _ in range(ROUNDS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.1, 0.6))
        assert child.poll() is None, "the child is to end by being killed"
        child.kill()
        child.wait()
        child.stdout.close()
    log = SqliteEventLog(tmp_path / "log.db")
    head = log.head()
    assert head > 0
    folder, clock = tmp_path / "warehouse", SystemClock()
    expected = [f"f{k}" for k in range(1, head + 1)]
    asked = warehouse(folder, Reader(log), clock=clock, tail=10_000_000)
    before = [row[4] for row in asked.query("export_rows", tenant_id="acme", limit=head + 1).rows]
    assert before == expected
    loader(Reader(log), folder, clock=clock, grace_ms=0).run()
    after = [row[4] for row in asked.query("export_rows", tenant_id="acme", limit=head + 1).rows]
    assert after == expected
    assert asked.lag_events == 0
    assert sum(file.rows for file in manifest.read(FolderBlobStore(folder)).parts) == head
    assert not any(folder.rglob("rows-*")), "scratch files of killed loaders are left"
    asked.close()
    log.close()
