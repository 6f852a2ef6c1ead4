"""Which items get a raw copy, and under which name."""

from __future__ import annotations

from typing import Any

from tests.unit.feedback.world import THUMB, World

from loopwright.feedback.originals import originals
from loopwright.feedback.prepared import Prepared, Understood
from loopwright.people.raw import Original

MAIL = "mail a@example.com, it is wrong"


def found(world: World, *items: Any, path: str = "feedback") -> tuple[list[Original], Prepared]:
    """The copies that intake would keep of a body, and what it makes of the body."""
    understood: Understood = world.intake.understand("acme", path, list(items))
    prepared = world.intake.finish(understood)
    made: list[list[tuple[Any, Any]]] = [
        [
            (fact, key)
            for fact, key, at in zip(prepared.facts, prepared.keys, prepared.places, strict=True)
            if at == place
        ]
        for place, _ in understood.valid
    ]
    persons = {id: world.people.find("acme", id) for id in understood.user_ids}
    return originals(understood, drafts=understood.valid, made=made, persons=persons), prepared


def test_only_items_that_redaction_changed_are_kept(world: World) -> None:
    plain = {**THUMB, "output_id": "p", "message": "it is wrong"}
    told = {**THUMB, "output_id": "q", "message": MAIL, "user_id": "v"}
    kept, prepared = found(world, plain, told, plain)
    (only,) = kept
    assert only.item == told
    assert only.first == 1
    assert only.event_id == prepared.facts[1].event_id  # type: ignore[union-attr]  # a report
    assert only.person == world.people.find("acme", "v").id
    assert (only.reviewer, only.path) == ("", "feedback")


def test_the_place_counts_facts_and_not_items(world: World) -> None:
    call = {
        "query": "how?",
        "response": "so",
        "feedback": [{"type": "thumbs", "value": "up"}],
        "user_id": "u",
    }
    told = {"query": MAIL, "response": "so", "user_id": "u"}
    kept, prepared = found(world, call, told, path="interaction")
    (only,) = kept
    assert prepared.places.index(1) == only.first
    assert prepared.facts[only.first].event_id == only.event_id  # type: ignore[union-attr]


def test_feedback_without_a_person_is_kept_without_one(world: World) -> None:
    anonymous = {name: value for name, value in THUMB.items() if name != "user_id"}
    ((only,), _) = found(world, {**anonymous, "message": MAIL})
    assert (only.person, only.reviewer) == ("", "")
