from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from loopwright.backends.memory import memory_database
from loopwright.core.errors import StaleVersion
from loopwright.core.ports import Database
from loopwright.eventlog import Consumers


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(memory_database()) as database:
        yield database


def test_a_position_advances_with_what_was_made_of_the_facts(database: Database) -> None:
    consumers = Consumers(database)
    with database.transaction() as session:
        session.execute("CREATE TABLE sums (total BIGINT)")
        consumers.advance(session, "learner", 7)

    def crash() -> None:
        with database.transaction() as session:
            session.execute("INSERT INTO sums VALUES (1)")
            consumers.advance(session, "learner", 9)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert (consumers.position("learner"), database.query("SELECT * FROM sums")) == (7, [])
    assert Consumers(database).position("learner") == 7


def test_a_position_never_goes_back(database: Database) -> None:
    consumers = Consumers(database)
    with database.transaction() as session:
        consumers.advance(session, "learner", 7)
        consumers.advance(session, "learner", 7)
        with pytest.raises(StaleVersion, match="already beyond offset 6"):
            consumers.advance(session, "learner", 6)
    assert consumers.position("learner") == 7


def test_the_slowest_consumer_holds_the_log(database: Database) -> None:
    consumers = Consumers(database)
    assert consumers.slowest() == 0
    with database.transaction() as session:
        consumers.advance(session, "learner", 7)
    assert consumers.slowest() == 7
    assert consumers.register("warehouse") == 0
    assert consumers.register("learner") == 7
    assert consumers.slowest() == 0
    consumers.forget("warehouse")
    assert (consumers.slowest(), consumers.position("warehouse")) == (7, 0)
