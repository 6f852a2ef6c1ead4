"""The catalog as a whole: what several processes and a log of before control facts ask of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.core.errors import DiskFull, Unauthenticated
from loopwright.core.events import Changed, Erased, ExperimentChanged, Fact, KeyChanged
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock


class Log:
    """Takes the facts of a catalog, or refuses them."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.refuses = False

    def append(self, facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        if self.refuses:
            raise DiskFull("no space left")
        self.facts += facts
        return len(self.facts)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    yield database
    database.close()


def opened(database: SqliteDatabase, **hooks: Any) -> Catalog:
    clock = ManualClock()
    return Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)), **hooks)


def greeting() -> Experiment:
    return Experiment(id="greeting", tenant_id="default", arms=(Arm(id="a"), Arm(id="b")))


def test_opening_makes_the_default_tenant_once(database: SqliteDatabase) -> None:
    assert [tenant.id for tenant in opened(database).tenants.all()] == ["default"]
    assert [tenant.id for tenant in opened(database).tenants.all()] == ["default"]


def test_another_process_follows_by_the_facts_and_old_ones_change_nothing(
    database: SqliteDatabase, log: Log
) -> None:
    writer, follower = opened(database, append=log.append), opened(database)
    writer.experiments.create(greeting(), actor="me")
    writer.experiments.move("default", "greeting", "start", actor="me")
    issued = writer.keys.create("default", ["read"], actor="me")
    with pytest.raises(Unauthenticated):
        follower.authenticate(issued.secret)

    for fact in log.facts:
        follower.follow(fact)
    assert follower.experiments.get("default", "greeting").state == "running"
    assert follower.authenticate(issued.secret).key_id == issued.key.id

    writer.keys.revoke("default", issued.key.id, actor="me")
    for fact in (log.facts[-1], *log.facts):
        follower.follow(fact)
    assert follower.experiments.get("default", "greeting").state == "running"
    with pytest.raises(Unauthenticated):
        follower.authenticate(issued.secret)


def test_a_fact_about_something_else_is_passed_over(database: SqliteDatabase) -> None:
    catalog = opened(database)
    catalog.follow(Erased("e", 1, "default", "p"))
    assert [tenant.id for tenant in catalog.tenants.all()] == ["default"]


def test_what_is_older_than_control_facts_is_told_once(database: SqliteDatabase, log: Log) -> None:
    catalog = opened(database, append=log.append)
    catalog.experiments.create(greeting(), actor="me")
    catalog.keys.create("default", ["read"], actor="me")
    with database.transaction() as session:  # as a database of before has them
        session.execute("UPDATE experiments SET told = 0")
        session.execute("UPDATE keys SET revision = 0")
    log.facts.clear()
    again = opened(database, append=log.append)
    assert again.adopt({}) == 2
    again.relay()
    assert {type(fact) for fact in log.facts} == {ExperimentChanged, KeyChanged}
    assert again.adopt({}) == 0


def test_an_audit_that_the_log_does_not_take_waits_for_the_next_relay(
    database: SqliteDatabase, log: Log
) -> None:
    catalog = opened(database, append=log.append)
    catalog.relay()
    log.facts.clear()
    log.refuses = True
    catalog.record(Changed(5, "default", "me", "surrogate/support", "calibrate"))
    with pytest.raises(DiskFull):
        catalog.relay()
    log.refuses = False
    catalog.relay()
    (fact,) = log.facts
    assert isinstance(fact, Changed)
    assert fact.action == "calibrate"
