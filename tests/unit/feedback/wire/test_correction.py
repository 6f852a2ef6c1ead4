from __future__ import annotations

from tests.unit.feedback.world import World

from loopwright.core.feedback import (
    Correction,
)


def test_a_correction_keeps_both_texts_the_reason_and_the_distance(world: World) -> None:
    item = {"original": "abcd", "corrected": "abxd", "explanation": "typo", "message_id": "m"}
    assert world.fact(item, "correction").feedback == Correction("abcd", "abxd", "typo", 0.25)


def test_an_event_that_corrects_is_taken_where_corrections_are_expected(world: World) -> None:
    data = {"original": "a", "corrected": "b"}
    item = {"type": "explicit", "source": "user_correction", "output_id": "o", "data": data}
    assert world.fact(item, "correction").note.shape == "event"
