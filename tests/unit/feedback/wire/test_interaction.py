from __future__ import annotations

from tests.unit.feedback.world import World

from loopwright.core.feedback import (
    Outcome,
    Rating,
)
from loopwright.feedback import restore


def test_an_interaction_brings_its_feedback_and_outcomes(world: World) -> None:
    item = {
        "id": "answer-1",
        "query": "mail a@example.com",
        "feedback": [{"type": "thumbs", "value": "down"}],
        "outcomes": [{"name": "resolved", "value": 0}],
    }
    call, thumbs, outcome = world.take(item, path="interaction").facts
    assert call.interaction.redactions == {"EMAIL": 1}  # type: ignore[union-attr]
    assert "a@example.com" not in str(call.interaction.query)  # type: ignore[union-attr]
    assert thumbs.feedback == Rating(0.0, "thumbs")  # type: ignore[union-attr]
    assert outcome.feedback == Outcome("resolved", 0.0)  # type: ignore[union-attr]
    assert outcome.target.output_id == "answer-1"  # type: ignore[union-attr]
    assert outcome.event_id == f"{call.event_id}.2"  # type: ignore[union-attr]


def test_a_time_of_another_zone_is_written_in_utc(world: World) -> None:
    item = {"id": "c", "started_at": "2026-11-20T10:30:00.000+01:00", "country": "de"}
    again = restore(world.take(item, path="interaction").facts)
    assert (again["started_at"], again["country"]) == ("2026-11-20T09:30:00.000Z", "DE")
