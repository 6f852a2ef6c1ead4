from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.backends.sqlite_files import crashed_copy, fill

from loopwright.backends.sqlite_log import SqliteEventLog, Verified
from loopwright.core.errors import LogCorrupt
from loopwright.core.ports import START, Offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteEventLog]:
    with closing(SqliteEventLog(path)) as log:
        yield log


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(at)
        file.write(content)


def truncate(path: Path, size: int) -> None:
    with path.open("rb+") as file:
        file.truncate(size)


def alter(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "garbage all over": lambda path: overwrite(path, 0, b"\xde\xad\xbe\xef" * 4096),
    "garbage after the header": lambda path: overwrite(path, 4096, b"\xde\xad\xbe\xef" * 2048),
    "a byte too many in the newest batch": lambda path: alter(
        path, "UPDATE batches SET body = body || x'00' WHERE first = 196"
    ),
    "a count that lies": lambda path: alter(path, "UPDATE batches SET count = 4 WHERE first = 196"),
    "a batch that is gone": lambda path: alter(path, "DELETE FROM batches WHERE first = 191"),
    "cut in half": lambda path: truncate(path, path.stat().st_size // 2),
    "cut by one page": lambda path: truncate(path, path.stat().st_size - 4096),
    "cut inside the header": lambda path: truncate(path, 50),
    "empty": lambda path: truncate(path, 0),
    "another program's database": lambda path: alter(path, "PRAGMA application_id = 0"),
    "of a later format": lambda path: alter(path, "PRAGMA user_version = 9"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_log_is_refused_at_the_start_and_not_touched(
    path: Path, damage: Callable[[Path], None]
) -> None:
    with closing(SqliteEventLog(path)) as log:
        fill(log, 40)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(LogCorrupt, match=r"log\.db"):
        SqliteEventLog(path)
    assert path.read_bytes() == before


def test_a_damaged_write_ahead_log_is_refused_and_not_touched(
    log: SqliteEventLog, path: Path, tmp_path: Path
) -> None:
    fill(log, 10)
    copy = crashed_copy(path, tmp_path / "crash")
    wal = Path(f"{copy}-wal")
    overwrite(wal, 0, b"\xde\xad\xbe\xef" * 8)
    before = copy.read_bytes(), wal.read_bytes()
    with pytest.raises(LogCorrupt, match="write-ahead log"):
        SqliteEventLog(copy)
    assert (copy.read_bytes(), wal.read_bytes()) == before


def test_a_lost_log_beside_its_write_ahead_log_is_not_begun_anew(
    log: SqliteEventLog, path: Path, tmp_path: Path
) -> None:
    fill(log, 10)
    copy = crashed_copy(path, tmp_path / "crash")
    copy.unlink()
    with pytest.raises(LogCorrupt, match="missing"):
        SqliteEventLog(copy)
    assert not copy.exists()


def test_reading_a_damaged_fact_is_refused(log: SqliteEventLog, path: Path) -> None:
    fill(log, 3)
    alter(path, "UPDATE batches SET body = zeroblob(length(body)) WHERE first = 6")
    assert len(log.read(START, limit=5)) == 1
    with pytest.raises(LogCorrupt, match="offset 6 does not match its checksum"):
        log.read(START, limit=6)


def test_verify_finds_old_damage_that_opening_does_not_look_for(path: Path) -> None:
    with closing(SqliteEventLog(path)) as log:
        fill(log, 400, size=1)
        alter(path, "UPDATE batches SET version = 0 WHERE first = 3")
    with closing(SqliteEventLog(path)) as log, pytest.raises(LogCorrupt, match="offset 3"):
        log.verify()


def test_verify_counts_what_is_left_after_trimming(log: SqliteEventLog) -> None:
    fill(log, 600, size=2)
    assert log.trim(Offset(1_001)) == 1_000
    assert log.verify() == Verified(batches=100, records=200, keys=1_200, first=1_001, last=1_200)
    log.trim(Offset(1_200))
    assert log.verify() == Verified(batches=0, records=0, keys=1_200, first=0, last=1_200)
