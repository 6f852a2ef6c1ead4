from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.backends.sqlite_files import crashed_copy, fill

from loopwright.backends.sqlite_log import SqliteEventLog, Verified
from loopwright.core.errors import Broken, DiskFull
from loopwright.core.ports import START, Offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteEventLog]:
    with closing(SqliteEventLog(path)) as log:
        yield log


def test_a_reopened_log_goes_on_where_it_ended(path: Path) -> None:
    with closing(SqliteEventLog(path)) as log:
        fill(log, 3)
    with closing(SqliteEventLog(path)) as log:
        fill(log, 1, start=3)
        assert (log.head(), len(log.read(START, limit=100))) == (20, 4)


def test_a_log_that_was_not_closed_opens_with_every_fact(
    log: SqliteEventLog, path: Path, tmp_path: Path
) -> None:
    fill(log, 10)
    with closing(SqliteEventLog(crashed_copy(path, tmp_path / "crash"))) as recovered:
        assert recovered.verify() == Verified(batches=10, records=50, keys=50, first=1, last=50)


def test_a_beginning_cut_short_is_begun_again(path: Path) -> None:
    Path(f"{path}.new").write_bytes(b"half of a database")
    with closing(SqliteEventLog(path)) as log:
        fill(log, 1)
        assert log.head() == 5
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_closed_log_says_so(log: SqliteEventLog) -> None:
    log.close()
    with pytest.raises(Broken, match="closed"):
        log.head()


def test_the_write_ahead_log_stays_small_under_a_reader_that_never_rests(path: Path) -> None:
    limit = 4 << 20
    is_done = threading.Event()
    largest = 0
    with closing(SqliteEventLog(path, wal_limit_bytes=limit)) as log:

        def read() -> None:
            while not is_done.is_set():
                log.read(Offset(max(log.head() - 50, 0)), limit=20)

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(200):
            log.append(bytes(200_000), count=1, version=1, keys=[b"%024d" % n])
            largest = max(largest, Path(f"{path}-wal").stat().st_size)
        is_done.set()
        reader.join()
    assert path.stat().st_size > 40_000_000
    assert largest < 3 * limit


def test_the_write_ahead_log_shrinks_again_after_a_reader_that_held_it(path: Path) -> None:
    limit = 4 << 20
    with (
        closing(SqliteEventLog(path, wal_limit_bytes=limit)) as log,
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
    ):
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM batches").fetchall()
        for n in range(40):
            log.append(bytes(200_000), count=1, version=1, keys=[b"%024d" % n])
        wal = Path(f"{path}-wal")
        assert wal.stat().st_size > limit
        holder.execute("COMMIT")
        for n in range(40, 60):
            log.append(bytes(200_000), count=1, version=1, keys=[b"%024d" % n])
        assert wal.stat().st_size <= limit
        assert log.head() == 60


def test_a_full_log_refuses_whole_batches_and_goes_on_when_there_is_room(path: Path) -> None:
    with closing(SqliteEventLog(path, max_bytes=200_000)) as log:
        with pytest.raises(DiskFull, match="free some space"):
            fill(log, 1_000, size=10)
        stored = log.head()
        assert 0 < stored < 10_000
        assert log.verify().records == stored
        log.trim(Offset(stored // 2))
        fill(log, 1, size=10, start=5_000)
        assert log.head() == stored + 10


FILL_THE_DISK = """
import resource, sys
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.errors import DiskFull

log = SqliteEventLog(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
stored = 0
try:
    while stored < 100:
        log.append(bytes(10_000), count=1, version=1, keys=[b"%024d" % stored])
        stored += 1
except DiskFull as error:
    print(stored, error.code)
"""


def test_a_write_the_system_refuses_is_disk_full_and_loses_nothing(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(path)], capture_output=True, text=True, check=True
    )
    stored, code = ran.stdout.split()
    assert (code, 0 < int(stored) < 100) == ("disk_full", True)
    with closing(SqliteEventLog(path)) as log:
        assert log.head() == int(stored)
