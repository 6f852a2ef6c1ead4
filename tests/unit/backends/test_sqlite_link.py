from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends.sqlite_link import begun, connect, keep_private, set_pragma, translated
from loopwright.core.errors import Broken, Conflict, DiskFull, LogCorrupt


def test_a_pragma_that_does_not_take_effect_is_an_error() -> None:
    with closing(connect(":memory:")) as connection:
        set_pragma(connection, "cache_size", -2000)
        # A database in memory has no write-ahead log, and SQLite says nothing of it.
        with pytest.raises(Broken, match="keeps journal_mode at memory; wal is needed"):
            set_pragma(connection, "journal_mode", "wal")


def test_a_connection_serves_any_thread_and_begins_nothing_by_itself(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a.db")) as connection:
        made = threading.Thread(target=connection.execute, args=("CREATE TABLE t (x)",))
        made.start()
        made.join()
        connection.execute("INSERT INTO t VALUES (1)")
        assert not connection.in_transaction


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_ends_a_transaction_early_rolls_it_back(error: type[BaseException]) -> None:
    with closing(connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (x)")

        def fail() -> None:
            with begun(connection) as open_one:
                open_one.execute("INSERT INTO t VALUES (1)")
                raise error

        with pytest.raises(error):
            fail()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with begun(connection) as open_one:
            open_one.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT x FROM t").fetchone() == (2,)


def test_a_private_file_and_those_beside_it_are_its_owners_alone(tmp_path: Path) -> None:
    path, wal = tmp_path / "a.db", tmp_path / "a.db-wal"
    wal.touch(0o644)
    keep_private(path)
    assert {kept.stat().st_mode & 0o777 for kept in (path, wal)} == {0o600}
    with pytest.raises(Broken, match="cannot be opened for writing"):
        keep_private(tmp_path / "nowhere" / "a.db")


def test_errors_of_sqlite_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (x UNIQUE)")
        connection.execute("INSERT INTO t VALUES (zeroblob(9000))")
        set_pragma(connection, "max_page_count", 7)
        with pytest.raises(DiskFull, match="free some space"), translated(path, damage=LogCorrupt):
            connection.execute("INSERT INTO t VALUES (zeroblob(90000))")
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(Conflict), translated(path, damage=LogCorrupt):
            connection.execute("INSERT INTO t VALUES (1)")
    other = tmp_path / "b.db"
    other.write_bytes(b"SQLite format 3" + b"x" * 5000)
    with (
        closing(connect(other)) as connection,
        pytest.raises(LogCorrupt, match="is damaged"),
        translated(other, damage=LogCorrupt),
    ):
        connection.execute("SELECT * FROM t")


def test_misuse_passes_through_as_it_is() -> None:
    connection = connect(":memory:")
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError), translated(Path("a.db"), damage=LogCorrupt):
        connection.execute("SELECT 1")
