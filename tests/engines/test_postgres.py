"""PostgreSQL keeps the port's contract, and what it says when it is away, refuses or is restarted."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest
from bench.footprint import free_port
from tests.engines.postgres_server import PASSWORD, PostgresServer

from loopwright.backends.postgres import PostgresDatabase
from loopwright.core.errors import (
    Broken,
    CommitUnclear,
    Conflict,
    DatabaseUnavailable,
    DiskFull,
    LoopError,
    Overloaded,
    SettingsInvalid,
)
from loopwright.core.schema import apply_schema
from loopwright.testing import check_database


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(postgres.url(), schema=postgres.schema())) as made:
        with made.transaction() as session:
            session.execute("CREATE TABLE things (name TEXT PRIMARY KEY, number INTEGER)")
        yield made


def put(database: PostgresDatabase, name: str) -> None:
    with database.transaction() as session:
        session.execute("INSERT INTO things VALUES (?, ?)", (name, 1))


def names(database: PostgresDatabase) -> list[str]:
    return [name for (name,) in database.query("SELECT name FROM things ORDER BY name")]


def administrator(postgres: PostgresServer) -> psycopg.Connection:
    return psycopg.connect(postgres.url(), autocommit=True)


def test_postgres_keeps_the_contract_of_the_port(postgres: PostgresServer) -> None:
    check_database(lambda: PostgresDatabase(postgres.url(), schema=postgres.schema()))


def test_databases_with_different_names_do_not_see_each_other(postgres: PostgresServer) -> None:
    scripts = (("CREATE TABLE things (name TEXT)",),)
    for _ in range(2):
        with closing(PostgresDatabase(postgres.url(), schema=postgres.schema())) as database:
            assert apply_schema(database, "things", scripts) == 1
            assert database.query("SELECT * FROM things") == []


def test_processes_that_start_at_once_make_schema_and_tables_once(postgres: PostgresServer) -> None:
    schema, ran = postgres.schema(), []

    def start() -> None:
        with closing(PostgresDatabase(postgres.url(), schema=schema)) as database:
            ran.append(apply_schema(database, "t", (("CREATE TABLE t (a TEXT)",),) * 1))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == [0, 0, 0, 0, 0, 1]


def test_transactions_of_two_processes_take_turns(postgres: PostgresServer) -> None:
    schema = postgres.schema()
    databases = [PostgresDatabase(postgres.url(), schema=schema) for _ in range(2)]
    with databases[0].transaction() as session:
        session.execute("CREATE TABLE counter (n INTEGER)")
        session.execute("INSERT INTO counter VALUES (0)")

    def count(database: PostgresDatabase) -> None:
        for _ in range(40):
            with database.transaction() as session:
                n = session.query("SELECT n FROM counter")[0][0]
                session.execute("UPDATE counter SET n = ?", (n + 1,))

    threads = [threading.Thread(target=partial(count, one)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert databases[0].query("SELECT n FROM counter") == [(80,)]
    for one in databases:
        one.close()


def test_reads_do_not_wait_for_a_transaction(database: PostgresDatabase) -> None:
    put(database, "a")
    found: list[list[str]] = []
    with database.transaction() as session:
        session.execute("INSERT INTO things VALUES ('b', 2)")
        reader = threading.Thread(target=lambda: found.append(names(database)))
        reader.start()
        reader.join(timeout=5)
    assert found == [["a"]]


def test_a_query_outside_a_transaction_cannot_write(database: PostgresDatabase) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        database.query("INSERT INTO things VALUES ('a', 1) RETURNING name")
    assert names(database) == []


def test_a_caught_error_does_not_commit_the_rest_of_its_transaction(
    database: PostgresDatabase,
) -> None:
    def catch() -> None:
        with database.transaction() as session:
            session.execute("INSERT INTO things VALUES ('b', 1)")
            with suppress(psycopg.IntegrityError):
                session.execute("INSERT INTO things VALUES ('a', 1)")

    put(database, "a")
    with pytest.raises(RuntimeError, match="nothing is stored"):
        catch()
    assert names(database) == ["a"]


def test_a_conflict_names_the_constraint_and_not_the_values(database: PostgresDatabase) -> None:
    put(database, "jane@example.com")
    with pytest.raises(Conflict, match="things_pkey") as caught:
        put(database, "jane@example.com")
    assert "jane" not in caught.value.message


@pytest.mark.parametrize(
    ("state", "expected", "advice"),
    [
        ("53100", DiskFull, "free some space"),
        ("53200", Broken, "look at its log"),
        ("58030", Broken, "look at its log"),
        ("XX001", Broken, "restore a backup"),
        ("55P03", Overloaded, "retry"),
        ("40001", Overloaded, "retry"),
        ("40P01", Overloaded, "retry"),
        ("42501", Broken, "make its owner the user"),
        ("57014", Overloaded, "retry"),
        ("08006", DatabaseUnavailable, "ended the connection"),
    ],
)
def test_what_the_server_raises_says_what_to_do(
    database: PostgresDatabase, state: str, expected: type[LoopError], advice: str
) -> None:
    def fail() -> None:
        with database.transaction() as session:
            session.execute("INSERT INTO things VALUES ('lost', 1)")
            session.execute(
                f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$"
            )

    with pytest.raises(expected, match=advice) as caught:
        fail()
    assert type(caught.value) is expected
    assert "so it is" in caught.value.message
    assert names(database) == []


def test_connections_carry_a_name_that_the_administrator_sees(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    with administrator(postgres) as peek:
        rows = peek.execute("SELECT application_name FROM pg_stat_activity").fetchall()
    assert any(name.startswith("loopwright test_") for (name,) in rows)


def test_commits_are_synchronous_even_where_the_server_says_otherwise(
    postgres: PostgresServer,
) -> None:
    url = f"{postgres.url()}?options=-c%20synchronous_commit%3Doff"
    with closing(PostgresDatabase(url, schema=postgres.schema())) as database:
        assert database.query("SELECT current_setting('synchronous_commit')") == [("on",)]


def test_a_server_that_does_not_sync_is_logged(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        PostgresDatabase(postgres.url(), schema=postgres.schema()).close()
    assert "fsync = off" in caplog.text
    assert PASSWORD not in str(vars(caplog.records[0]))


def test_the_program_of_the_how_to_runs(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "postgresql.md"
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    monkeypatch.setenv("DATABASE_URL", postgres.url())
    exec(compile(program, str(page), "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out == "[('red',)]\n"


# --- the server away, refusing, restarted


@pytest.mark.parametrize("restart", ["crash", "stop"])
def test_after_a_restart_between_transactions_the_next_call_works(
    postgres: PostgresServer, database: PostgresDatabase, restart: str
) -> None:
    put(database, "a")
    getattr(postgres, restart)()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        put(database, "lost")
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        names(database)
    assert time.monotonic() - started < 2
    postgres.start()
    started = time.monotonic()
    put(database, "b")
    assert names(database) == ["a", "b"]
    assert time.monotonic() - started < 2


def test_a_restart_that_is_not_noticed_costs_no_error(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    put(database, "a")
    postgres.crash()
    postgres.start()
    assert names(database) == ["a"]
    postgres.crash()
    postgres.start()
    put(database, "b")
    assert names(database) == ["a", "b"]


def test_a_crash_inside_a_transaction_leaves_nothing_half_done(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    def crash_half_way() -> None:
        with database.transaction() as session:
            session.execute("INSERT INTO things VALUES ('half', 1)")
            postgres.crash()
            postgres.start()
            session.execute("INSERT INTO things VALUES ('done', 1)")

    with pytest.raises(DatabaseUnavailable, match="not stored"):
        crash_half_way()
    assert names(database) == []
    put(database, "after")
    assert names(database) == ["after"]


def test_a_crash_before_the_answer_to_a_commit_is_said_to_be_unclear(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    def crash_at_the_end() -> None:
        with database.transaction() as session:
            session.executemany("INSERT INTO things VALUES (?, ?)", [("a", 1), ("b", 2)])
            postgres.crash()
            postgres.start()

    with pytest.raises(CommitUnclear, match="all of it is stored or nothing") as caught:
        crash_at_the_end()
    assert caught.value.status == 503
    assert names(database) in ([], ["a", "b"])
    put(database, "after")


def test_a_connection_that_the_administrator_ends_is_replaced(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'loopwright%'"

    def end_half_way() -> None:
        with database.transaction() as session:
            session.execute("INSERT INTO things VALUES ('lost', 1)")
            peek.execute(end)
            session.query("SELECT 1")

    put(database, "a")
    with administrator(postgres) as peek:
        peek.execute(end)
        assert names(database) == ["a"]
        with pytest.raises(DatabaseUnavailable):
            end_half_way()
    assert names(database) == ["a"]


def refusal(url: str) -> LoopError:
    with pytest.raises(LoopError) as caught:
        PostgresDatabase(url, schema="catalog")
    chain: BaseException | None = caught.value
    while chain is not None:
        assert PASSWORD not in str(chain)
        assert "wr0ng" not in str(chain)
        chain = chain.__cause__
    return caught.value


def test_a_wrong_password_is_a_matter_of_settings(postgres: PostgresServer) -> None:
    error = refusal(postgres.url(password="wr0ng"))
    assert isinstance(error, SettingsInvalid)
    assert "check user, password and database" in error.message


def test_an_unreachable_server_is_named_with_host_and_port(postgres: PostgresServer) -> None:
    port = free_port()
    error = refusal(postgres.url(port=port))
    assert isinstance(error, DatabaseUnavailable)
    assert f"127.0.0.1, port {port}" in error.message
    assert error.status == 503


def test_a_closed_database_says_so(database: PostgresDatabase) -> None:
    database.close()
    with pytest.raises(Broken, match="closed"):
        names(database)


# --- what is deleted


def dead_bytes(postgres: PostgresServer, database: PostgresDatabase) -> bool:
    """Return whether a deleted text is still in the file of its table."""
    ((path,),) = database.query("SELECT pg_relation_filepath('things')")
    with administrator(postgres) as peek:
        peek.execute("CHECKPOINT")
        ((content,),) = peek.execute("SELECT pg_read_binary_file(%s)", (path,)).fetchall()
    return b"a secret of jane" in content


def test_a_rewrite_leaves_no_byte_of_a_deleted_row_in_its_table(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    put(database, "a secret of jane")
    put(database, "kept")
    with database.transaction() as session:
        session.execute("DELETE FROM things WHERE name LIKE '%jane'")
    assert dead_bytes(postgres, database), "a deletion does not overwrite"
    assert database.scrub()
    assert database.rewrite()
    assert not dead_bytes(postgres, database)
    assert names(database) == ["kept"]


def test_a_rewrite_waits_for_transactions_that_may_still_see_the_row(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    put(database, "a secret of jane")
    with administrator(postgres) as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        with database.transaction() as session:
            session.execute("DELETE FROM things")
        assert not database.rewrite()
        old.execute("COMMIT")
        old.execute(f"BEGIN; LOCK TABLE {database_schema(database)}.things")
        assert not database.scrub(), "a table in use is left for the next time"
        old.execute("COMMIT")
    assert database.scrub(), "what is left to rewrite is rewritten by the next scrub"
    assert not dead_bytes(postgres, database)


def database_schema(database: PostgresDatabase) -> str:
    return str(database.query("SELECT current_schema()")[0][0])


def test_a_private_schema_that_others_may_use_is_refused(postgres: PostgresServer) -> None:
    schema = postgres.schema()
    PostgresDatabase(postgres.url(), schema=schema, is_private=True).close()
    with administrator(postgres) as peek:
        peek.execute(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC")
    with pytest.raises(Broken, match="open to PUBLIC"):
        PostgresDatabase(postgres.url(), schema=schema, is_private=True)
    PostgresDatabase(postgres.url(), schema=schema).close()
