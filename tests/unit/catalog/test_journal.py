from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import pytest

from loopwright.backends.memory import memory_database
from loopwright.catalog import store
from loopwright.catalog.journal import Journal
from loopwright.catalog.outbox import Append
from loopwright.core.errors import Broken
from loopwright.core.events import Fact
from loopwright.core.ids import Ids
from loopwright.core.schema import apply_schema
from loopwright.testing import ManualClock


def journal(append: Append | None, applied: Callable[[int], None]) -> Journal:
    clock, database = ManualClock(), memory_database()
    apply_schema(database, "catalog", store.SCHEMA)
    ids = Ids(clock, random.Random(1))
    return Journal(database, clock=clock, ids=ids, append=append, applied=applied)


def put(made: Journal, subject: str) -> None:
    with made.transaction() as session:
        made.put(session, made.told("acme", subject, "create", actor="k"))


def test_without_a_log_facts_wait_and_nothing_is_waited_for() -> None:
    waited: list[int] = []
    made = journal(None, waited.append)
    put(made, "tenant/acme")
    assert made.relay() == 0
    made.wait_for(7)
    assert waited == []


def test_a_log_that_fails_leaves_the_facts_for_the_next_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: list[Fact] = []
    broken = [True]

    def append(facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        if broken[0]:
            raise Broken("the disk is full")
        found.extend(facts)
        return len(found)

    made = journal(append, lambda offset: None)
    put(made, "tenant/acme")
    with caplog.at_level(logging.ERROR):
        made.try_relay()
    assert "waits in the outbox" in caplog.text
    broken[0] = False
    assert made.relay() == 1
    assert len(found) == 1
