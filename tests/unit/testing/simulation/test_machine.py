from __future__ import annotations

import random

import pytest

from loopwright.core.errors import DiskFull
from loopwright.testing import check_blob_store, check_database, check_event_log
from loopwright.testing.simulation.machine import (
    REFUSALS,
    Machine,
    blobs_of,
    database_of,
    log_of,
)


def test_the_simulated_engines_keep_what_their_ports_promise() -> None:
    check_event_log(lambda: log_of(Machine(), "log.db"))
    check_blob_store(lambda: blobs_of(Machine(), "segments"))
    check_database(lambda: database_of(Machine(), "tables.db"))


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_a_loss_of_power_takes_the_latest_commits_of_what_is_not_synced(synchronous: str) -> None:
    kept = set()
    for seed in range(30):
        machine = Machine()
        database = database_of(machine, "state.db", synchronous=synchronous)  # type: ignore[arg-type]
        with database.transaction() as session:
            session.execute("CREATE TABLE IF NOT EXISTS numbers (n BIGINT)")
        for n in range(5):
            with database.transaction() as session:
                session.execute("INSERT INTO numbers VALUES (?)", (n,))
        machine.lose_power(random.Random(seed))
        after = database_of(machine, "state.db", synchronous=synchronous)  # type: ignore[arg-type]
        with after.transaction() as session:
            session.execute("CREATE TABLE IF NOT EXISTS numbers (n BIGINT)")
        kept.add(tuple(n for (n,) in after.query("SELECT n FROM numbers ORDER BY n")))
    prefixes = {tuple(range(n)) for n in range(6)}
    assert kept == {tuple(range(5))} if synchronous == "FULL" else kept <= prefixes
    assert (len(kept) > 3) is (synchronous == "NORMAL")


def test_a_machine_like_another_begins_with_its_content_and_goes_its_own_way() -> None:
    first = Machine()
    log_of(first, "log.db").append(b"x", count=1, version=1, keys=[b"k"])
    with database_of(first, "t.db").transaction() as session:
        session.execute("CREATE TABLE t (n BIGINT)")
    second = Machine(first)
    assert log_of(second, "log.db").taken([b"k"]) == {b"k"}
    log_of(second, "log.db").append(b"y", count=1, version=1, keys=[])
    with database_of(second, "t.db").transaction() as session:
        session.execute("INSERT INTO t VALUES (1)")
    assert (log_of(first, "log.db").head(), log_of(second, "log.db").head()) == (1, 2)
    assert database_of(Machine(first), "t.db").query("SELECT * FROM t") == []


def test_every_kind_of_refusal_can_be_raised() -> None:
    assert {type(refusal()) for refusal in REFUSALS} >= {DiskFull, OSError}
