from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.feedback import Target
from loopwright.core.schema import apply_schema
from loopwright.signals.facts import About
from loopwright.signals.fold import Action, Session
from loopwright.signals.store import LOG, SCHEMA, Held, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = SqliteDatabase(tmp_path / "state.db")
    apply_schema(database, "sessions", SCHEMA)
    with database.transaction() as transaction:
        yield Store(transaction)
    database.close()


def held(at_ms: int, *, arrived_ms: int = 0, person: str | None = None) -> Held:
    session = Session("s", (Action("s", "d", "shown", at_ms),))
    return Held((session,), arrived_ms, {"d": About(Target(output_id="d"), person)})


def test_open_sessions_and_times_come_back_as_they_were(store: Store) -> None:
    assert store.load("acme", "s") == Held()
    store.save({("acme", "s"): held(5)}, [("acme", 7)])
    store.save({("acme", "s"): held(6), ("other", "s"): held(1)}, [("acme", 8), (LOG, 9)])
    assert (store.load("acme", "s"), store.load("other", "s")) == (held(6), held(1))
    assert store.times() == {"acme": 8, LOG: 9}


def test_a_session_id_without_open_sessions_is_deleted(store: Store) -> None:
    store.save({("acme", "s"): held(5)}, [])
    store.save({("acme", "s"): Held()}, [])
    assert store.load("acme", "s") == Held()


def test_sessions_are_over_by_the_logs_clock_or_by_their_tenants_time(store: Store) -> None:
    keys = {
        ("acme", "idle"): held(100, arrived_ms=4),
        ("acme", "ended"): held(4, arrived_ms=100),
        ("acme", "open"): held(100, arrived_ms=100),
        ("other", "ended"): held(4, arrived_ms=100),
    }
    store.save(keys, [])
    times = {LOG: 15, "acme": 15, "other": 14}
    over = store.over(times, grace_ms=10, limit=10)
    assert set(over) == {("acme", "idle"), ("acme", "ended")}
    assert len(store.over(times, grace_ms=10, limit=1)) == 1


def test_erasing_a_person_deletes_their_sessions_in_that_tenant_only(store: Store) -> None:
    keys = {("acme", "a"): held(1, person="p"), ("acme", "b"): held(1, person="q")}
    store.save({**keys, ("other", "a"): held(1, person="p")}, [])
    store.erase("acme", "p")
    assert store.load("acme", "a") == Held()
    assert store.load("acme", "b") != Held() != store.load("other", "a")
