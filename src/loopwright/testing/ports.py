"""Contract suites of the ports: what every backend has to do, whoever wrote it.

Each `check_…` takes a factory that makes an empty backend, runs all its checks on fresh ones and raises
`AssertionError` at the first promise that is not kept. They start threads but need no test framework.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from loopwright.core.errors import Conflict
from loopwright.core.ports import (
    START,
    BlobStore,
    Database,
    EventLog,
    Keys,
    KeyTaken,
    Offset,
)


def check_event_log(factory: Callable[[], EventLog]) -> None:
    """Check everything `EventLog` promises on logs made by `factory`."""
    for check in (
        _empty_log_has_head_zero,
        _offsets_are_gapless_from_one,
        _read_returns_whole_batches,
        _taken_keys_refuse_the_whole_append,
        _trim_keeps_offsets_and_keys,
        _appends_from_threads_do_not_interleave,
        _readers_see_only_whole_appends,
    ):
        with closing(factory()) as log:
            check(log)


def check_keys(factory: Callable[[], Keys]) -> None:
    """Check everything `Keys` promises on sets of keys made by `factory`."""
    for check in (
        _only_new_keys_are_claimed,
        _taken_returns_only_stored_keys,
        _one_of_many_claims_of_a_key_wins,
    ):
        check(factory())


def check_database(factory: Callable[[], Database]) -> None:
    """Check everything `Database` promises on databases made by `factory`."""
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


def check_blob_store(factory: Callable[[], BlobStore]) -> None:
    """Check everything `BlobStore` promises on stores made by `factory`."""
    for check in (
        _blobs_come_back,
        _blobs_are_never_overwritten,
        _names_are_sorted_and_filtered,
        _deleted_blobs_are_gone,
        _one_of_many_writers_of_a_name_wins,
    ):
        check(factory())


def _append(log: EventLog, body: bytes, count: int = 1, *, keys: Iterable[bytes] = ()) -> int:
    return log.append(body, count=count, version=1, keys=list(keys))


def _refused(log: EventLog, keys: list[bytes]) -> frozenset[bytes]:
    """Return which of `keys` the log refuses an append for."""
    try:
        _append(log, b"refused", 2, keys=keys)
    except KeyTaken as error:
        return error.keys
    raise AssertionError("an append with a stored key must raise KeyTaken")


def _key(number: int) -> bytes:
    return struct.pack(">QQQ", number, 0, number)


def _empty_log_has_head_zero(log: EventLog) -> None:
    assert log.head() == 0
    assert log.read(START, limit=10) == []
    assert log.trim(Offset(100)) == 0


def _offsets_are_gapless_from_one(log: EventLog) -> None:
    assert [_append(log, b"a", 3), _append(log, b"b"), _append(log, b"c", 5)] == [1, 4, 5]
    assert log.head() == 9
    batches = log.read(START, limit=100)
    assert [(b.first, b.count, b.last, b.version, b.body) for b in batches] == [
        (1, 3, 3, 1, b"a"),
        (4, 1, 4, 1, b"b"),
        (5, 5, 9, 1, b"c"),
    ]


def _read_returns_whole_batches(log: EventLog) -> None:
    for body in (b"a", b"b", b"c"):
        _append(log, body, 10)

    def bodies(after: int, limit: int) -> list[bytes]:
        return [batch.body for batch in log.read(Offset(after), limit=limit)]

    assert bodies(0, 1) == [b"a"]
    assert bodies(0, 10) == [b"a"]
    assert bodies(0, 11) == [b"a", b"b"]
    assert bodies(9, 1) == [b"a"]
    assert bodies(9, 2) == [b"a", b"b"]
    assert bodies(10, 1) == [b"b"]
    assert bodies(15, 100) == [b"b", b"c"]
    assert bodies(30, 1) == []
    assert bodies(31, 1) == []


def _taken_keys_refuse_the_whole_append(log: EventLog) -> None:
    _append(log, b"a", 2, keys=[_key(1), _key(2)])
    assert _refused(log, [_key(3), _key(2)]) == {_key(2)}, "the error must say which are stored"
    assert log.head() == 2
    assert _append(log, b"c", keys=[_key(3)]) == 3
    assert [batch.body for batch in log.read(START, limit=10)] == [b"a", b"c"]


def _trim_keeps_offsets_and_keys(log: EventLog) -> None:
    for n in range(1, 4):
        _append(log, b"%d" % n, 10, keys=[_key(n)])
    assert log.trim(Offset(9)) == 0, "a batch goes only when all of it may go"
    assert log.trim(Offset(25)) == 20
    assert log.trim(Offset(25)) == 0
    assert [batch.first for batch in log.read(START, limit=100)] == [21]
    assert log.head() == 30
    assert log.trim(Offset(1_000)) == 10
    assert (log.head(), log.read(START, limit=100)) == (30, [])
    assert _refused(log, [_key(1), _key(4), _key(3)]) == {_key(1), _key(3)}
    assert _append(log, b"next") == 31


def _appends_from_threads_do_not_interleave(log: EventLog) -> None:
    def write(thread: int) -> None:
        for n in range(25):
            _append(log, b"%d" % thread, 3, keys=[_key(thread * 1000 + n)])

    in_threads(write, 4)
    batches = log.read(START, limit=1_000_000)
    assert [batch.first for batch in batches] == list(range(1, 301, 3))
    assert sorted(batch.body for batch in batches) == sorted([b"0", b"1", b"2", b"3"] * 25)


def _readers_see_only_whole_appends(log: EventLog) -> None:
    is_done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        while not is_done.is_set():
            head = log.head()
            if head % 7 or sum(batch.count for batch in log.read(START, limit=10_000)) < head:
                torn.append(head)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(60):
        _append(log, b"x" * 100, 7, keys=[_key(n)])
    is_done.set()
    reader.join()
    assert torn == []


def _only_new_keys_are_claimed(keys: Keys) -> None:
    assert keys.claim([_key(1), _key(2)]) == set()
    assert keys.claim([_key(2), _key(3), _key(3)]) == {_key(2)}
    assert keys.taken([_key(1), _key(2), _key(3), _key(4)]) == {_key(1), _key(2), _key(3)}
    assert keys.claim([]) == set()


def _taken_returns_only_stored_keys(keys: Keys) -> None:
    keys.claim([_key(n) for n in range(1, 1400)])
    asked = [_key(n) for n in range(700, 2800)]
    assert keys.taken(asked) == {_key(n) for n in range(700, 1400)}
    assert keys.taken([]) == set()


def _one_of_many_claims_of_a_key_wins(keys: Keys) -> None:
    won: list[int] = []

    def claim(_: int) -> None:
        won.extend(n for n in range(20) if not keys.claim([_key(n)]))

    in_threads(claim, 4)
    assert sorted(won) == list(range(20))


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
        with database.transaction(), database.transaction():
            pass
    except RuntimeError:
        pass
    else:
        raise AssertionError("a second transaction of a thread must be refused, not wait")
    assert _names(database) == []


_ROWS = (
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
        assert list(map(type, found[0])) == [str, int, bytes, float]
        assert database.query("SELECT name FROM things WHERE content = ?", (row[2],)) == [row[:1]]
    assert database.query("SELECT * FROM things WHERE name = 'none'") == [
        ("none", None, None, None)
    ]


def _sums_come_back_as_integers(database: Database) -> None:
    for name in ("a", "b"):
        _put(database, name, 2**53 + 1)
    ((count, total),) = database.query("SELECT COUNT(*), SUM(number) FROM things")
    assert (count, total, type(total)) == (2, 2**54 + 2, int)


def _question_marks_and_percent_signs_are_text_in_quotes(database: Database) -> None:
    _put(database, "100 %s?")
    sql = "SELECT name FROM things WHERE name = '100 %s?' AND name LIKE '%?' AND number % 2 = ?"
    assert database.query(sql, (0,)) == [("100 %s?",)]
    assert database.query("SELECT '?%%' FROM things") == [("?%%",)]


def _texts_compare_by_their_bytes(database: Database) -> None:
    made = {"", "\0\0", "\0\1", "\1\0", "a b", "ab", *"\0\1\2B_aé\U0001f9ff"}
    names = sorted(made, key=str.encode)
    for name in reversed(names):
        _put(database, name)
    assert _names(database) == names
    assert database.query("SELECT MIN(name), MAX(name) FROM things") == [(names[0], names[-1])]
    assert database.query("SELECT COUNT(*) FROM things WHERE name > ?", ("_",)) == [(5,)]


def _changed_rows_are_counted(database: Database) -> None:
    with database.transaction() as session:
        assert session.executemany("INSERT INTO things (name) VALUES (?)", []) == 0
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
                if not session.query("SELECT 1 FROM things WHERE number = ?", (n,)):
                    name = f"{thread}/{n}"
                    session.execute("INSERT INTO things (name, number) VALUES (?, ?)", (name, n))
                    made.append(n)

    in_threads(make, 4)
    assert sorted(made) == list(range(10))


def _blobs_come_back(store: BlobStore) -> None:
    assert store.get("folder/none") is None
    assert store.put("empty", b"") is True
    assert store.put("folder/deep/some.bin", b"\0\xff" * 100_000) is True
    assert store.get("empty") == b""
    assert store.get("folder/deep/some.bin") == b"\0\xff" * 100_000


def _blobs_are_never_overwritten(store: BlobStore) -> None:
    assert store.put("name", b"first") is True
    assert store.put("name", b"second") is False
    assert store.put("name", b"first") is False
    assert store.get("name") == b"first"


def _names_are_sorted_and_filtered(store: BlobStore) -> None:
    for name in ("b/2", "b/10", "a", "b/c/d", "bb"):
        store.put(name, b"")
    assert list(store.names()) == ["a", "b/10", "b/2", "b/c/d", "bb"]
    assert list(store.names("b/")) == ["b/10", "b/2", "b/c/d"]
    assert list(store.names("b/1")) == ["b/10"]
    assert list(store.names("z")) == []


def _deleted_blobs_are_gone(store: BlobStore) -> None:
    store.put("a/b", b"old")
    store.delete("a/b")
    store.delete("a/b")
    assert store.get("a/b") is None
    assert list(store.names()) == []
    assert store.put("a/b", b"new") is True
    assert store.get("a/b") == b"new"


def _one_of_many_writers_of_a_name_wins(store: BlobStore) -> None:
    won: list[int] = []

    def write(thread: int) -> None:
        for n in range(10):
            if store.put(f"race/{n}", b"%d" % thread):
                won.append(n)

    in_threads(write, 4)
    assert sorted(won) == list(range(10))


def in_threads(work: Callable[[int], None], n: int) -> None:
    """Run `work(0)` to `work(n - 1)` at once; raise what the first failing one raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below, where it is seen
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
