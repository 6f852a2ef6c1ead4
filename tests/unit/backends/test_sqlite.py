from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase, SqliteEventLog, Verified
from loopwright.core import upcast
from loopwright.core.errors import Broken, DiskFull, LogCorrupt
from loopwright.core.events import Fact, Ticked
from loopwright.core.ports import START, Offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteEventLog]:
    with closing(SqliteEventLog(path)) as log:
        yield log


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
from loopwright.backends.sqlite import SqliteEventLog
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


def test_a_database_keeps_its_rows_when_reopened(tmp_path: Path) -> None:
    with (
        closing(SqliteDatabase(tmp_path / "state.db")) as database,
        database.transaction() as session,
    ):
        session.execute("CREATE TABLE things (name TEXT)")
        session.execute("INSERT INTO things VALUES ('a')")
    with closing(SqliteDatabase(tmp_path / "state.db", synchronous="NORMAL")) as database:
        assert database.query("SELECT name FROM things") == [("a",)]


def test_a_transaction_inside_a_transaction_is_refused(tmp_path: Path) -> None:
    with (
        closing(SqliteDatabase(tmp_path / "state.db")) as database,
        database.transaction(),
        pytest.raises(RuntimeError, match="already open"),
        database.transaction(),
    ):
        pass


def test_a_damaged_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Broken, match="damaged"):
        SqliteDatabase(path)
    assert path.read_bytes() == b"no database" * 1000


def test_a_database_in_a_missing_folder_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="cannot be opened"):
        SqliteDatabase(tmp_path / "none" / "state.db")


def test_a_private_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    for before in (None, 0o644):
        if before is not None:
            path.chmod(before)
        with closing(SqliteDatabase(path, is_private=True)) as database:
            with database.transaction() as session:
                session.execute("CREATE TABLE IF NOT EXISTS things (name TEXT)")
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
            assert modes == {"people.db": 0o600, "people.db-wal": 0o600, "people.db-shm": 0o600}
            assert database.query("PRAGMA secure_delete") == [(1,)]


def test_a_file_that_another_holds_is_written_anew_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with closing(SqliteDatabase(path, is_private=True)) as database:
        with database.transaction() as session:
            session.execute("CREATE TABLE things (name TEXT)")
            session.executemany("INSERT INTO things VALUES (?)", [("x" * 500,)] * 200)
        assert database.scrub()
        whole = path.stat().st_size
        with database.transaction() as session:
            session.execute("DELETE FROM things")
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert not database.rewrite()
            writer.execute("ROLLBACK")
        assert path.stat().st_size == whole
        assert database.scrub()
        assert path.stat().st_size < whole / 2


def test_scrubbing_waits_for_no_reader_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with closing(SqliteDatabase(path, is_private=True)) as database:
        with database.transaction() as session:
            session.execute("CREATE TABLE things (name TEXT)")
            session.execute("INSERT INTO things VALUES ('the secret')")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT name FROM things").fetchone() == ("the secret",)
            with database.transaction() as session:
                session.execute("DELETE FROM things")
            assert not database.scrub()
            reader.execute("ROLLBACK")
        assert database.scrub()
        assert not any(b"the secret" in file.read_bytes() for file in tmp_path.iterdir())
