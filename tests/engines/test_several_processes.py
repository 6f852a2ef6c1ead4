"""Stores of several processes over one schema stay right: Python's locks guard only one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.engines.postgres_server import PostgresServer

from loopwright.backends.postgres import PostgresDatabase
from loopwright.core.errors import Conflict
from loopwright.feedback import Quarantine
from loopwright.feedback.quarantine import RefusedItem
from loopwright.people import People
from loopwright.testing import ManualClock
from loopwright.trust import Clearance, Clearances


def at_once(work: Callable[[int], object]) -> list[Any]:
    """Return what `work(0)` to `work(3)` return when they run at once, or their conflicts."""
    seen: list[Any] = []

    def run(n: int) -> None:
        try:
            seen.append(work(n))
        except Conflict as error:
            seen.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    return seen


@pytest.fixture
def shared(postgres: PostgresServer) -> Iterator[list[PostgresDatabase]]:
    """Four databases over one schema, as four processes have them."""
    schema = postgres.schema()
    databases = [PostgresDatabase(postgres.url(), schema=schema) for _ in range(4)]
    yield databases
    for database in databases:
        database.close()


def test_a_full_quarantine_stays_full_when_four_processes_hold_items(
    shared: list[PostgresDatabase],
) -> None:
    def hold(n: int) -> int:
        items = [
            RefusedItem(id=f"{n}-{i}", received_ms=1, path="", stage="", code="", reason="")
            for i in range(5)
        ]
        return desks[n].hold("acme", items)

    desks = [Quarantine(database, capacity=7) for database in shared]
    assert sum(at_once(hold)) == 13
    page = desks[0].list("acme")
    assert (page.held, page.dropped) == (7, 13)


def test_one_release_of_a_rush_is_in_force_when_four_processes_release_it(
    shared: list[PostgresDatabase],
) -> None:
    def add(n: int) -> None:
        about: dict[str, Any] = {
            "experiment_id": "e",
            "arm_id": "a",
            "from_ms": 1,
            "to_ms": 2,
            "note": "",
        }
        desks[n].add("acme", Clearance(id=str(n), **about, released_by="k", released_at_ms=3))

    desks = [Clearances(database) for database in shared]
    refused = [answer for answer in at_once(add) if isinstance(answer, Conflict)]
    assert len(refused) == 3
    assert len(desks[0].in_force("acme", from_ms=0, to_ms=9)) == 1


def test_a_user_is_one_person_when_four_processes_meet_them_at_once(
    shared: list[PostgresDatabase],
) -> None:
    desks = [People(database, clock=ManualClock()) for database in shared]
    users = [f"u{n}" for n in range(20)]
    answers = at_once(lambda n: desks[n].resolve("acme", users))
    assert answers == [answers[0]] * 4
    ids = [person.id for person in answers[0].values()]
    keys = at_once(lambda n: desks[n].person_keys("acme", ids))
    assert keys == [keys[0]] * 4
    assert len({desk.key("acme") for desk in desks}) == 1
