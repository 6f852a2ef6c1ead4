from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec import structs

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Conflict
from loopwright.core.limit import Limit
from loopwright.limiting import store
from loopwright.limiting.controller import Window, advance, begin
from loopwright.limiting.windows import settings_of

LIMIT = Limit(id="chat", tenant_id="t", prior=100, least=10, most=200, burst=10)


@pytest.fixture
def database() -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(":memory:")) as made:
        store.prepare(made, made)
        yield made


def test_limits_are_kept_changed_from_the_revision_that_was_read_and_deleted(
    database: SqliteDatabase,
) -> None:
    with database.transaction() as session:
        store.put(session, LIMIT, before=None)
    with pytest.raises(Conflict), database.transaction() as session:
        store.put(session, LIMIT, before=None)
    second = structs.replace(LIMIT, prior=50.0, revision=2)
    with database.transaction() as session:
        store.put(session, second, before=1)
    with pytest.raises(Conflict), database.transaction() as session:
        store.put(session, second, before=1)
    assert store.all_limits(database) == [second]
    with database.transaction() as session:
        store.delete(session, "t", "chat")
    assert store.all_limits(database) == []


@pytest.mark.parametrize("windows", [0, 3])
def test_a_state_is_read_back_bit_for_bit(database: SqliteDatabase, windows: int) -> None:
    settings = settings_of(LIMIT)
    control = begin(settings)
    for n in range(windows):
        control = advance(settings, control, Window(ended_s=1.1 * n, overloaded=1.0))
    with database.transaction() as session:
        store.keep_state(session, ("t", "chat"), 7, control)
        store.keep_state(session, ("t", "chat"), 9, control)
    assert store.states(database) == {("t", "chat"): (9, control)}
    with database.transaction() as session:
        store.forget_state(session, ("t", "chat"))
    assert store.states(database) == {}
