from __future__ import annotations

from tests.unit.feedback.world import SIGNER, THUMB, World


def test_a_fact_from_the_future_is_kept_and_flagged(world: World) -> None:
    now_ms = world.clock.now_ms()
    for ahead_ms, flags in ((299_000, ()), (301_000, ("clock_ahead",))):
        fact = world.fact({**THUMB, "occurred_at": now_ms + ahead_ms})
        assert fact.note.flags == flags
        assert (fact.at_ms, fact.note.occurred_at_ms) == (now_ms, now_ms + ahead_ms)


def test_a_fact_from_before_its_decision_is_kept_and_flagged(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "signal", "name": "copy", "request_id": token}
    fact = world.fact({**item, "occurred_at": world.clock.now_ms() - 1})
    assert fact.note.flags == ("before_decision",)


def test_a_fact_out_of_order_is_kept_and_flagged(world: World) -> None:
    at_ms = world.clock.now_ms()
    item = {"kind": "signal", "name": "copy", "session_id": "s"}
    flags = [
        world.fact({**item, "occurred_at": at_ms + step}).note.flags for step in (0, 2, 1, 2, 3)
    ]
    assert flags == [(), (), ("out_of_order",), (), ()]


def test_up_and_down_by_one_person_is_kept_and_flagged(world: World) -> None:
    down = {**THUMB, "value": 0}
    assert world.fact(THUMB).note.flags == ()
    assert world.fact({**down, "user_id": "v"}).note.flags == ()
    assert world.fact({**down, "output_id": "p"}).note.flags == ()
    assert world.fact(down).note.flags == ("contradiction",)
    assert world.fact(down).note.flags == ()


def test_people_and_addresses_become_pseudonyms(world: World) -> None:
    item = {**THUMB, "ip_address": "203.0.113.9"}
    one, two = world.fact(item), world.fact({**item, "output_id": "p"})
    assert one.note.person == two.note.person == world.people.find("acme", "u").id
    assert one.note.address == two.note.address
    assert "203.0.113.9" not in str(one)
    assert "'u'" not in str(one)


def test_a_judgement_names_who_judged_by_pseudonym(world: World) -> None:
    item = {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good"}
    fact = world.fact({**item, "output_id": "o", "reviewer": "rita", "user_id": "u"})
    assert fact.feedback.reviewer == world.people.find("acme", "rita").id  # type: ignore[union-attr]
    fact = world.fact({**item, "output_id": "o", "user_id": "u"})
    assert fact.feedback.reviewer == fact.note.person  # type: ignore[union-attr]
