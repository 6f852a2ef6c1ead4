from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.core.events import Interacted
from loopwright.feedback import restore


@pytest.mark.parametrize(
    "item",
    [
        {"output_id": "o", "feedback_type": "thumbs"},
        {"output_id": "o", "outcome_metric_value": 2},
        {"output_id": "o", "feedback_type": [], "feedback_value": []},
        {"output_id": "o", "timestamp": "2026-11-27T12:00:00+02:00", "country": "de"},
        {"output_id": "o", "redaction_flags": "email", "consent_scope": ["train", "store"]},
    ],
)
def test_what_our_own_fields_cannot_say_is_written_as_it_was_sent(
    item: dict[str, Any], world: World
) -> None:
    prepared = world.take(item, path="interaction")
    assert not prepared.refusals, prepared.refusals[0].error.message
    back = restore(prepared.facts)
    assert {name: back[name] for name in item} == item


def test_a_comment_inside_a_call_is_redacted(world: World) -> None:
    item = {"output_id": "o", "feedback_type": "comment", "feedback_value": "mail a@example.com"}
    call, comment = world.take(item, path="interaction").facts
    assert isinstance(call, Interacted)
    assert "a@example.com" not in repr(comment)
    assert call.interaction.redactions == {"EMAIL": 1}


def test_a_name_and_a_list_of_the_same_are_refused(world: World) -> None:
    item = {"feedback_type": "thumbs", "feedback_value": "up", "feedback": []}
    assert "feedback_type and feedback" in world.refused(item, path="interaction")
