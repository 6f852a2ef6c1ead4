from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.core.feedback import (
    Rating,
)
from loopwright.feedback import restore


def test_a_reviewer_is_not_written_where_it_is_the_user(world: World) -> None:
    item = {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good"}
    own = world.fact({**item, "output_id": "o", "user_id": "u"})
    assert "reviewer" not in restore([own])
    other = world.fact({**item, "output_id": "p", "user_id": "u", "reviewer": "v"})
    assert restore([other])["reviewer"] == world.people.find("acme", "v").id


@pytest.mark.parametrize(
    ("given", "rating"),
    [
        ({"scale": "thumbs", "value": 1}, Rating(1.0, "thumbs")),
        ({"scale": "thumbs", "value": 0, "low": 0, "high": 1}, Rating(0.0, "thumbs")),
        ({"scale": "stars", "value": 4}, Rating(4.0, "stars", 1.0, 5.0)),
        ({"scale": "numeric", "value": 7, "low": 0, "high": 10}, Rating(7.0, "numeric", 0.0, 10.0)),
    ],
)
def test_a_rating_knows_the_bounds_of_its_scale(given: Any, rating: Rating, world: World) -> None:
    assert world.fact({"kind": "rating", "output_id": "o", **given}).feedback == rating


def test_an_item_with_a_type_is_an_event_even_with_a_kind(world: World) -> None:
    fact = world.fact({"kind": "signal", "type": "query", "output_id": "o"})
    assert fact.note.shape == "event"
