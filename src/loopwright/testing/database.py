"""Contract suite of the database port: what every engine for tables and transactions has to do.

`check_database` takes a factory that makes an empty database, runs all its checks on fresh ones and raises
`AssertionError` at the first promise that is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from loopwright.core.errors import Conflict
from loopwright.core.ports import Database

from .ports import in_threads


def check_database(factory: Callable[[], Database]) -> None:
    """Check everything `Database` promises on databases made by `factory`."""
    # A fresh database per check: what one leaves behind must not let another pass.
    for check in (
        _committed_rows_are_seen,
        _exceptions_roll_back,
        _a_transaction_sees_its_own_writes,
        _a_transaction_is_not_nested,
        _values_come_back_as_they_went,
        _sums_come_back_as_integers,
        _question_marks_and_percent_signs_are_text_in_quotes,
        _texts_compare_by_their_bytes,
        _changed_rows_are_counted,
        _violated_constraints_are_conflicts,
        _transactions_from_threads_are_serial,
        _one_of_many_checks_before_an_insert_passes,
    ):
        with closing(factory()) as database:
            with database.transaction() as session:
                session.execute(
                    "CREATE TABLE things (name TEXT PRIMARY KEY, number BIGINT, content BLOB, "
                    "weight DOUBLE PRECISION)"
                )
            check(database)


def _put(database: Database, name: str, number: int = 0) -> None:
    with database.transaction() as session:
        session.execute("INSERT INTO things (name, number) VALUES (?, ?)", (name, number))


def _names(database: Database) -> list[Any]:
    return [name for (name,) in database.query("SELECT name FROM things ORDER BY name")]


def _committed_rows_are_seen(database: Database) -> None:
    with database.transaction() as session:
        session.execute("INSERT INTO things (name) VALUES (?)", ("a",))
        assert session.query("SELECT name FROM things") == [("a",)]
    assert _names(database) == ["a"]
    assert database.query("SELECT name FROM things WHERE name = ?", ("b",)) == []


def _exceptions_roll_back(database: Database) -> None:
    _put(database, "before")
    try:
        with database.transaction() as session:
            session.execute("INSERT INTO things (name) VALUES (?)", ("lost",))
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("the exception must come through")
    assert _names(database) == ["before"]
    _put(database, "after")
    assert _names(database) == ["after", "before"]


def _a_transaction_sees_its_own_writes(database: Database) -> None:
    try:
        with database.transaction() as session:
            session.execute("INSERT INTO things (name) VALUES (?)", ("new",))
            # A verb deeper in the same thread asks the database itself.
            assert _names(database) == ["new"]
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert _names(database) == []


def _a_transaction_is_not_nested(database: Database) -> None:
    try:
        # Waiting would be for ever: the thread that holds the first transaction is the one that waits.
        with database.transaction(), database.transaction():
            pass
    except RuntimeError:
        pass
    else:
        raise AssertionError("a second transaction of a thread must be refused, not wait")
    assert _names(database) == []


_ROWS = (
    # Both ends of BIGINT, a NUL and U+0001 (which PostgreSQL's engine escapes by each other), subnormal and
    # greatest floats, and bytes that look like PostgreSQL's hexadecimal notation.
    ("naïve ☃", 2**63 - 1, b"\0\xff\x00", 0.1),
    ("\U0001f9ff\r\n\t\x01\x7f\ufeff'\"\\%s?", -(2**63), b"", -1.7976931348623157e308),
    ("\0a\1\2\0\1\1\0\0", 0, bytes(range(256)) * 4096, 5e-324),
    ("x" * 100_000, 2**31, b"\\x00", 1 / 3),
)


def _values_come_back_as_they_went(database: Database) -> None:
    with database.transaction() as session:
        session.executemany("INSERT INTO things VALUES (?, ?, ?, ?)", _ROWS)
        session.execute("INSERT INTO things VALUES (?, ?, ?, ?)", ("none", None, None, None))
    for row in _ROWS:
        found = database.query("SELECT * FROM things WHERE name = ?", (row[0],))
        assert found == [row]
        # Types too: 1.0 == 1 and b"" is falsy, so equality alone would pass an engine that returns other types.
        assert list(map(type, found[0])) == [str, int, bytes, float]
        assert database.query("SELECT name FROM things WHERE content = ?", (row[2],)) == [row[:1]]
    assert database.query("SELECT * FROM things WHERE name = 'none'") == [
        ("none", None, None, None)
    ]


def _sums_come_back_as_integers(database: Database) -> None:
    for name in ("a", "b"):
        # Not exact as a float, which a driver may make of NUMERIC, the type that PostgreSQL sums BIGINT in.
        _put(database, name, 2**53 + 1)
    ((count, total),) = database.query("SELECT COUNT(*), SUM(number) FROM things")
    assert (count, total, type(total)) == (2, 2**54 + 2, int)


def _question_marks_and_percent_signs_are_text_in_quotes(database: Database) -> None:
    _put(database, "100 %s?")
    # One driver marks parameters by `?`, another by `%s`; both characters are plain text here.
    sql = "SELECT name FROM things WHERE name = '100 %s?' AND name LIKE '%?' AND number % 2 = ?"
    assert database.query(sql, (0,)) == [("100 %s?",)]
    assert database.query("SELECT '?%%' FROM things") == [("?%%",)]


def _texts_compare_by_their_bytes(database: Database) -> None:
    made = {"", "\0\0", "\0\1", "\1\0", "a b", "ab", *"\0\1\2B_aé\U0001f9ff"}
    # The order of UTF-8 and not of a language: a cursor over ids would skip rows in the one that it shows in
    # the other.
    names = sorted(made, key=str.encode)
    for name in reversed(names):
        _put(database, name)
    assert _names(database) == names
    assert database.query("SELECT MIN(name), MAX(name) FROM things") == [(names[0], names[-1])]
    assert database.query("SELECT COUNT(*) FROM things WHERE name > ?", ("_",)) == [(5,)]


def _changed_rows_are_counted(database: Database) -> None:
    with database.transaction() as session:
        assert session.executemany("INSERT INTO things (name) VALUES (?)", []) == 0
        # PostgreSQL counts the rows that a SELECT returns; none of them changed.
        assert session.execute("SELECT 1") == 0
        rows = [(f"n{i}", i) for i in range(5)]
        inserted = session.executemany("INSERT INTO things (name, number) VALUES (?, ?)", rows)
        assert inserted == 5
        assert session.execute("UPDATE things SET number = 0 WHERE number > ?", (2,)) == 2
        again = "INSERT INTO things (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
        assert session.execute(again, ("n0",)) == 0
        assert session.execute(again, ("new",)) == 1
        assert session.execute("DELETE FROM things") == 6


def _violated_constraints_are_conflicts(database: Database) -> None:
    _put(database, "a")
    try:
        _put(database, "a")
    except Conflict:
        pass
    else:
        raise AssertionError("a violated constraint must raise Conflict")
    _put(database, "b")
    assert _names(database) == ["a", "b"]


def _transactions_from_threads_are_serial(database: Database) -> None:
    _put(database, "counter")

    def count(_: int) -> None:
        for _ in range(25):
            with database.transaction() as session:
                # Read, then written: without a lock from the beginning, two threads count once.
                number = session.query("SELECT number FROM things")[0][0]
                session.execute("UPDATE things SET number = ?", (number + 1,))

    in_threads(count, 4)
    assert database.query("SELECT number FROM things") == [(100,)]


def _one_of_many_checks_before_an_insert_passes(database: Database) -> None:
    """What a transaction has read stays true until it ends, even that there is no row."""
    made: list[int] = []

    def make(thread: int) -> None:
        for n in range(10):
            with database.transaction() as session:
                # A row that is not there cannot be locked, so row locks alone do not pass this.
                if not session.query("SELECT 1 FROM things WHERE number = ?", (n,)):
                    name = f"{thread}/{n}"
                    session.execute("INSERT INTO things (name, number) VALUES (?, ?)", (name, n))
                    made.append(n)

    in_threads(make, 4)
    assert sorted(made) == list(range(10))
