from __future__ import annotations

from tests.unit.feedback.world import World

from loopwright.core.events import Reported
from loopwright.core.feedback import Rating
from loopwright.feedback import restore


def test_a_rating_and_thumbs_of_one_generation_are_two_facts_of_one_item(world: World) -> None:
    item = {"output_id": "o", "rating": 5, "thumbs": "down", "model_version": "m3"}
    fact, inner = world.take(item).facts
    assert isinstance(fact, Reported)
    assert isinstance(inner, Reported)
    assert fact.feedback == Rating(5.0, "stars", 1.0, 5.0)
    assert (inner.feedback, inner.note.shape) == (Rating(0.0, "thumbs"), "inner")
    assert inner.event_id == f"{fact.event_id}.1"
    assert fact.note.labels == {"thumbs": "down", "model_version": "m3"}
    assert fact.note.flags == ("thumbs_contradict_rating",)


def test_an_offer_is_an_output_and_stays_an_offer_when_written(world: World) -> None:
    fact = world.fact({"offer_id": "O1", "thumbs": "up"})
    assert fact.target.output_id == "O1"
    again = restore([fact])
    assert again["offer_id"] == "O1"
    assert "output_id" not in again
