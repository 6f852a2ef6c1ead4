from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Broken


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
