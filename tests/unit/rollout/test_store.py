from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec import structs

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Conflict, NotFound, StaleVersion
from loopwright.core.rollout import STAGES, Rollout
from loopwright.core.schema import apply_schema
from loopwright.rollout import store
from loopwright.rollout.watch import Watch

ONE = Rollout(id="r", tenant_id="t", experiment_id="e", challenger="b", champion="a", stages=STAGES)


@pytest.fixture
def database() -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(":memory:")) as made:
        apply_schema(made, "rollouts", store.SCHEMA)
        with made.transaction() as session:
            store.add(session, ONE)
        yield made


def test_what_is_kept_is_read_back(database: SqliteDatabase) -> None:
    assert store.get(database, "t", "r") == ONE
    assert store.newest(database, "t", limit=5) == (ONE,)
    assert store.newest(database, "t", experiment_id="other", limit=5) == ()
    with pytest.raises(NotFound):
        store.get(database, "other", "r")


def test_one_open_rollout_for_an_experiment(database: SqliteDatabase) -> None:
    with pytest.raises(Conflict, match="open rollout"), database.transaction() as session:
        store.add(session, structs.replace(ONE, id="s"))
    with pytest.raises(Conflict, match="already a rollout"), database.transaction() as session:
        store.add(session, ONE)
    with database.transaction() as session:
        store.change(session, ONE, structs.replace(ONE, state="cancelled", revision=2))
        store.add(session, structs.replace(ONE, id="s"))


def test_of_two_that_move_it_the_second_is_refused(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.change(session, ONE, structs.replace(ONE, state="held", revision=2))
    with pytest.raises(StaleVersion, match="read it again"), database.transaction() as session:
        store.change(session, ONE, structs.replace(ONE, state="cancelled", revision=2))


def test_background_work_looks_at_what_may_move(database: SqliteDatabase) -> None:
    assert store.moving(database) == (ONE,)
    held = structs.replace(ONE, state="held", is_applied=True, revision=2)
    with database.transaction() as session:
        store.change(session, ONE, held)
    assert store.moving(database) == ()
    promoted = structs.replace(held, state="promoted", revision=3)
    with database.transaction() as session:
        store.change(session, held, promoted)
    assert store.moving(database) == ()
    state = store.Watched(watch=Watch.over(0.5, margin=0.1), place=7)
    with database.transaction() as session:
        store.keep_watched(session, promoted, state)
    assert store.moving(database) == (promoted,)
    assert store.watched(database, promoted) == state
