from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Invalid, NotFound, TokenKeyRetired
from loopwright.core.events import Reported
from loopwright.core.feedback import Rating
from loopwright.core.token import Signer
from loopwright.feedback.quarantine import Quarantine, RefusedItem, replayable

STARS = {"output_id": "o", "customer_id": "u", "rating": 6}


def test_a_refused_item_is_held_with_its_reason(world: World) -> None:
    prepared = world.take({**STARS, "comment": "mail a@example.com"})
    id = prepared.refusals[0].quarantine_id
    assert id is not None
    held = world.quarantine.read("acme", id)
    assert (held.stage, held.code, held.path) == ("validate", "invalid", "feedback")
    assert held.reason.startswith("rating is 6")
    assert held.received_ms == world.clock.now_ms()
    assert held.is_whole
    assert held.body["comment"].startswith("mail <EMAIL:")
    person = world.people.find("acme", "u").id
    assert held.body["customer_id"] == f"person:{person}"
    assert held.persons == (person,)


def test_the_list_shows_no_bodies_and_comes_in_pages(world: World) -> None:
    world.take(*[{**STARS, "output_id": str(n)} for n in range(5)])
    page = world.quarantine.list("acme", limit=2)
    assert (page.held, page.dropped, [item.body for item in page.items]) == (5, 0, [None, None])
    seen = [item.id for item in page.items]
    while page.next_cursor is not None:
        page = world.quarantine.list("acme", after=page.next_cursor, limit=2)
        seen += [item.id for item in page.items]
    assert seen == sorted(set(seen))
    assert len(seen) == 5


def test_another_tenant_sees_and_touches_nothing(world: World) -> None:
    id = world.take(STARS).refusals[0].quarantine_id or ""
    assert world.quarantine.list("other").items == []
    for touch in (world.quarantine.read, world.quarantine.discard, world.intake.replay):
        with pytest.raises(NotFound):
            touch("other", id)
    assert world.quarantine.list("acme").held == 1


def test_a_full_quarantine_counts_what_it_drops() -> None:
    world = World(capacity=3)
    for _ in range(2):
        world.take(*[STARS] * 2)
    page = world.quarantine.list("acme")
    assert (page.held, page.dropped) == (3, 1)
    world.close()


def test_two_processes_never_hold_more_than_there_is_room_for(tmp_path: Path) -> None:
    """Each has a connection of its own, so no lock of Python stands between them."""
    start = threading.Barrier(2)

    def fill(name: str) -> None:
        with closing(SqliteDatabase(tmp_path / "quarantine.db")) as database:
            quarantine = Quarantine(database, capacity=25)
            start.wait(10)
            for n in range(20):
                item = RefusedItem(
                    id=f"{name}{n}",
                    received_ms=1,
                    path="feedback",
                    stage="validate",
                    code="invalid",
                    reason="",
                )
                quarantine.hold("acme", [item])

    with closing(SqliteDatabase(tmp_path / "quarantine.db")) as database:
        quarantine = Quarantine(database)
        threads = [threading.Thread(target=fill, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        page = quarantine.list("acme")
    assert (page.held, page.dropped) == (25, 15)


def test_what_is_discarded_is_gone(world: World) -> None:
    id = world.take(STARS).refusals[0].quarantine_id or ""
    world.quarantine.discard("acme", id)
    for touch in (world.quarantine.read, world.quarantine.discard):
        with pytest.raises(NotFound):
            touch("acme", id)


def test_an_item_can_be_replayed_after_the_cause_is_mended(world: World) -> None:
    old = Signer({2: bytes(32)}, active=2)
    item = {
        "kind": "rating",
        "scale": "thumbs",
        "value": 1,
        "request_id": old.sign(world.decision()),
        "user_id": "u",
        "ip_address": "203.0.113.9",
    }
    refusal = world.take(item).refusals[0]
    assert isinstance(refusal.error, TokenKeyRetired)
    id = refusal.quarantine_id or ""
    assert list(world.intake.replay("acme", id).refusals) == [0]
    assert world.quarantine.list("acme").held == 1
    world.pipeline.signer = Signer({1: bytes(range(32)), 2: bytes(32)}, active=1)
    (fact,) = world.intake.replay("acme", id).facts
    assert isinstance(fact, Reported)
    assert fact.feedback == Rating(1.0, "thumbs")
    sent = world.fact({**item, "output_id": "o"})
    assert (fact.note.person, fact.note.address) == (sent.note.person, sent.note.address)


@pytest.mark.parametrize(
    "item",
    [
        {**STARS, "comment": "x" * 1_000_000},
        {**STARS, **{f"m{n}": "x" * 900 for n in range(100)}},
    ],
)
def test_an_item_that_is_too_large_is_cut_and_not_replayed(item: Any, world: World) -> None:
    id = world.take(item).refusals[0].quarantine_id or ""
    held = world.quarantine.read("acme", id)
    assert not held.is_whole
    assert len(str(held.body)) < 70_000
    with pytest.raises(Invalid, match="too large"):
        replayable(held)


@pytest.mark.parametrize("item", [3, "text", None, [1], {"type": "query", "n": 10**40}])
def test_anything_at_all_can_be_held(item: Any, world: World) -> None:
    id = world.take(item).refusals[0].quarantine_id or ""
    assert world.quarantine.read("acme", id).body == item


def test_a_pseudonym_sent_from_outside_is_a_user_id_like_any_other(world: World) -> None:
    person = world.people.resolve("acme", ["u"])["u"].id
    item = {"kind": "signal", "name": "copy", "output_id": "o", "user_id": f"person:{person}"}
    assert world.fact(item).note.person != person
