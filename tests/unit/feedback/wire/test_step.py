from __future__ import annotations

from tests.unit.feedback.world import World

from loopwright.feedback import restore
from loopwright.feedback.times import iso_time


def test_an_unknown_outcome_is_kept_in_the_data_and_comes_back(world: World) -> None:
    item = {"session_id": "s", "kind": "sql", "outcome": "exploded", "data": {"tables": ["a"]}}
    (fact,) = world.take(item, path="step").facts
    again = restore([fact])
    assert (again["outcome"], again["data"]) == ("exploded", {"tables": ["a"]})


def test_a_step_without_a_time_happened_when_it_arrived(world: World) -> None:
    (fact,) = world.take({"session_id": "s", "kind": "sql"}, path="step").facts
    assert restore([fact])["taken_at"] == iso_time(world.clock.now_ms())
