from __future__ import annotations

from typing import Any

from tests.unit.feedback.world import THUMB, World

from loopwright.core.upcast import decode, encode


def test_each_stage_counts_what_it_saw_changed_and_refused(world: World) -> None:
    prepared = world.take(
        THUMB, {**THUMB, "output_id": "p", "message": "mail a@example.com, it is wrong"}, {"x": 1}
    )
    world.settle(prepared, False, True)
    seen = {name: (c.seen, c.changed, c.refused) for name, c in world.pipeline.counters.items()}
    assert seen == {
        "validate": (3, 0, 1),
        "deduplicate": (2, 2, 0),
        "redact": (2, 1, 0),
        "enrich": (2, 2, 0),
        "classify": (2, 1, 0),
        "append": (2, 1, 1),
        "route": (1, 1, 0),
    }


def test_what_intake_makes_survives_the_log(world: World) -> None:
    prepared = world.take(
        THUMB,
        {"type": "query", "message_id": "m", "user_id": "u", "data": {"thumbs": "up", "k": [1]}},
    )
    assert decode(encode(prepared.facts)) == prepared.facts


MIXED: list[Any] = [
    {**THUMB, "labels": {"type": "a word, no member"}},
    {
        "type": "query",
        "message_id": "m",
        "user_id": "v",
        "data": {"thumbs": "up", "query": "a@b.de"},
    },
    {"kind": "signal", "name": "copy", "session_id": "s"},
    {"kind": "rating", "scale": "thumbs", "value": 7, "output_id": "o"},
    {"kind": "rating", "scale": "thumbs", "value": "up", "output_id": "o"},
    {"kind": "signal", "type": "explicit", "output_id": "o"},
    {"original": "a", "corrected": "b", "message_id": "m"},
    {**THUMB, "value": 0, "message": "wrong, ask a@example.com", "ip_address": "203.0.113.9"},
    {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good", "output_id": "o"},
    {"nothing": "known"},
    7,
]


def test_items_become_the_same_together_as_one_by_one(world: World) -> None:
    other = World()
    for made in (world, other):
        made.people.resolve("acme", ["u", "v"])
    together = world.take(*MIXED)
    alone = [other.take(item) for item in MIXED]
    assert together.facts == [fact for prepared in alone for fact in prepared.facts]
    assert together.keys == [key for prepared in alone for key in prepared.keys]
    assert world.pipeline.counters == other.pipeline.counters
    other.close()
