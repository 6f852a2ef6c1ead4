"""The tables themselves, beneath the catalog's rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import store
from loopwright.catalog.secret import prefix_of
from loopwright.core.errors import Conflict
from loopwright.core.principal import Key, StoredKey
from loopwright.core.schema import apply_schema
from loopwright.core.tenancy import Tenant


@pytest.fixture
def database() -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(":memory:")
    apply_schema(database, "catalog", store.SCHEMA)
    with database.transaction() as session:
        store.add_tenant(session, Tenant(id="acme", name="Acme", created_at_ms=1))
    yield database
    database.close()


def key(**changes: object) -> Key:
    fields: dict[str, object] = {
        "id": "k1",
        "tenant_id": "acme",
        "name": "web",
        "scopes": ("select", "read"),
        "prefix": "",
        "created_at_ms": 2,
    }
    return Key(**{**fields, **changes})  # type: ignore[arg-type]  # a table of fields


def test_a_key_is_read_back_as_it_was_stored_and_changed(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.add_key(session, StoredKey(key(), b"\x01" * 32, None, 1))
    (read,) = store.keys(database)
    assert read == StoredKey(key(prefix=prefix_of("k1")), b"\x01" * 32, None, 1)
    changed = StoredKey(
        key(rotated_at_ms=5, previous_valid_until_ms=9, revoked_at_ms=7),
        b"\x02" * 32,
        b"\x01" * 32,
        2,
    )
    with database.transaction() as session:
        store.change_key(session, changed)
    (again,) = store.keys(database)
    assert (again.digest, again.previous_digest, again.revision) == (b"\x02" * 32, b"\x01" * 32, 2)
    assert (again.key.rotated_at_ms, again.key.revoked_at_ms) == (5, 7)


def test_the_time_of_last_use_never_moves_back(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.add_key(session, StoredKey(key(), b"\x01" * 32, None, 1))
    for at_ms, known in ((5, 5), (9, 9), (7, 9)):
        with database.transaction() as session:
            store.set_last_used(session, [("k1", at_ms), ("nobody", at_ms)])
        assert store.keys(database)[0].key.last_used_ms == known


def test_an_experiment_changes_only_from_the_revision_before(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.add_experiment(session, "acme", "x", body="1")
        assert store.change_experiment(session, "acme", "x", revision=2, body="2")
        assert not store.change_experiment(session, "acme", "x", revision=2, body="again")
        assert not store.change_experiment(session, "acme", "x", revision=4, body="too far")
        assert not store.change_experiment(session, "acme", "y", revision=2, body="nobody")
    assert store.experiment_bodies(database) == ["2"]


def test_a_transaction_that_fails_leaves_neither_change_nor_fact(database: SqliteDatabase) -> None:
    def add_twice() -> None:
        with database.transaction() as session:
            store.add_experiment(session, "acme", "x", body="1")
            store.add_to_outbox(session, [("e1", 1, b"one")])
            store.add_experiment(session, "acme", "x", body="twice")

    with pytest.raises(Conflict):
        add_twice()
    assert store.experiment_bodies(database) == []
    assert store.outbox(database, limit=9) == []


def test_the_outbox_numbers_facts_in_order_and_never_twice(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        store.add_to_outbox(session, [("e1", 1, b"one"), ("e2", 1, b"two")])
        store.add_to_outbox(session, [])
    assert [(w.seq, w.event_id) for w in store.outbox(database, limit=9)] == [(1, "e1"), (2, "e2")]
    with database.transaction() as session:
        store.clear_outbox(session, through=2)
        store.add_to_outbox(session, [("e3", 2, b"three")])
    (waiting,) = store.outbox(database, limit=9)
    assert (waiting.seq, waiting.version, waiting.body) == (3, 2, b"three")


def test_what_the_log_was_never_told_is_told_once(database: SqliteDatabase) -> None:
    with database.transaction() as session:
        # As a database of before the outbox has them: its columns got these defaults.
        session.execute(
            "INSERT INTO experiments (tenant_id, id, revision, body) VALUES (?, ?, 3, ?)",
            ("acme", "old", "body"),
        )
        store.add_experiment(session, "acme", "new", body="other")
        assert store.untold_experiments(session) == ["body"]
        store.mark_told(session)
        assert store.untold_experiments(session) == []
