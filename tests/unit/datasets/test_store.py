from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec import structs

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.dataset import Dataset, Recipe
from loopwright.core.errors import NotFound
from loopwright.core.schema import apply_schema
from loopwright.datasets import store

ONE = Dataset(
    id="abc1", tenant_id="t", name="p", kind="sft", recipe=Recipe(name="p"), from_ms=0, to_ms=1,
    watermark=1, code_version="1", rows=1, shards=(), read=1, dropped={}, built_at_ms=5,
)  # fmt: skip


@pytest.fixture
def database() -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(":memory:")) as made:
        apply_schema(made, "datasets", store.SCHEMA)
        with made.transaction() as session:
            assert store.add(session, ONE)
            assert not store.add(session, ONE)
        yield made


def test_a_manifest_is_found_by_the_beginning_of_its_id(database: SqliteDatabase) -> None:
    assert store.get(database, "t", "abc") == ONE
    with database.transaction() as session:
        store.add(session, structs.replace(ONE, id="abc2", built_at_ms=6))
    with pytest.raises(NotFound, match="several"):
        store.get(database, "t", "abc")
    assert store.get(database, "t", "abc2").built_at_ms == 6
    for id in ("", "x", "%", "_", "abc%", "ABC1"):
        with pytest.raises(NotFound):
            store.get(database, "t", id)


def test_the_newest_come_first_of_one_tenant_and_name(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.add(session, structs.replace(ONE, id="b", name="q", built_at_ms=9))
        store.add(session, structs.replace(ONE, id="c", tenant_id="u"))
    assert [d.id for d in store.newest(database, "t", name=None, limit=5)] == ["b", "abc1"]
    assert [d.id for d in store.newest(database, "t", name="p", limit=5)] == ["abc1"]


def test_a_manifest_may_say_later_that_its_rows_are_gone(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.change(session, structs.replace(ONE, expired_at_ms=7))
    assert store.get(database, "t", "abc1").expired_at_ms == 7
