from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import structs

from loopwright.backends.memory import memory_database
from loopwright.core.errors import Conflict, NotFound, StaleVersion
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema
from loopwright.core.trigger import (
    Command,
    GitHub,
    Retrain,
    Trigger,
    TriggerDelivery,
    TriggerFiring,
)
from loopwright.rollout import trigger_store as store

TRIGGER = Trigger(
    id="t", tenant_id="a", condition=Retrain(), window_days=7, cool_down_s=0, created_at_ms=1
)
FIRING = TriggerFiring(id="f1", tenant_id="a", trigger_id="t", fired_at_ms=1, from_ms=0, reason="r")
DELIVERY = TriggerDelivery(
    id="d1", tenant_id="a", trigger_id="t", firing=FIRING, action=GitHub(), due_ms=10
)


@pytest.fixture
def database() -> Iterator[Database]:
    made = memory_database()
    apply_schema(made, "triggers", store.SCHEMA)
    yield made
    made.close()


def test_a_trigger_is_kept_changed_from_its_revision_and_removed(database: Database) -> None:
    with database.transaction() as session:
        store.add(session, TRIGGER)
    after = structs.replace(TRIGGER, is_enabled=False, revision=2)
    with database.transaction() as session:
        store.change(session, TRIGGER, after)
    assert store.all_of(database, "a") == (after,)
    assert store.all_of(database, "b") == store.enabled(database) == ()
    with pytest.raises(StaleVersion), database.transaction() as session:
        store.change(session, TRIGGER, after)
    with pytest.raises(Conflict), database.transaction() as session:
        store.add(session, TRIGGER)
    with database.transaction() as session:
        store.remove(session, "a", "t")
    with pytest.raises(NotFound), database.transaction() as session:
        store.remove(session, "a", "t")
    with pytest.raises(NotFound):
        store.get(database, "a", "t")


def test_firings_come_newest_first(database: Database) -> None:
    with database.transaction() as session:
        for id, of in ("f1", "t"), ("f3", "u"), ("f2", "t"):
            store.add_firing(session, structs.replace(FIRING, id=id, trigger_id=of))
    assert [f.id for f in store.firings(database, "a", trigger_id=None, limit=9)] == [
        "f3",
        "f2",
        "f1",
    ]
    assert [f.id for f in store.firings(database, "a", trigger_id="t", limit=1)] == ["f2"]
    assert store.firings(database, "b", trigger_id=None, limit=9) == ()


def test_what_is_due_comes_least_tried_first_commands_apart(database: Database) -> None:
    tried = structs.replace(DELIVERY, id="d2", due_ms=5, tries=3)
    later = structs.replace(DELIVERY, id="d3", due_ms=99)
    command = structs.replace(DELIVERY, id="d4", action=Command(name="c"))
    with database.transaction() as session:
        for each in (DELIVERY, tried, later, command):
            store.add_delivery(session, each)
    found = store.due(database, now_ms=10, are_commands=False, limit=9)
    assert [each.id for each in found] == ["d1", "d2"]
    assert store.due(database, now_ms=10, are_commands=True, limit=9) == (command,)
    assert store.due(database, now_ms=4, are_commands=False, limit=9) == ()


def test_a_delivery_changes_only_from_the_state_it_was_in(database: Database) -> None:
    done = structs.replace(DELIVERY, state="delivered")
    with database.transaction() as session:
        store.add_delivery(session, DELIVERY)
        assert store.change_delivery(session, done)
        assert not store.change_delivery(session, DELIVERY)
    assert store.delivery(database, "a", "d1") == done
    assert store.deliveries(database, "a", state="delivered", limit=9) == (done,)
    assert store.deliveries(database, "a", state="dead", limit=9) == ()
    assert store.deliveries(database, "a", trigger_id="other", limit=9) == ()
    with pytest.raises(NotFound):
        store.delivery(database, "b", "d1")
