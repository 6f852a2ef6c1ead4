from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.core.feedback import (
    Annotation,
    Correction,
    Measurement,
    Rating,
    Signal,
)
from loopwright.feedback import restore


@pytest.mark.parametrize(
    ("event", "feedback"),
    [
        ({"type": "explicit", "data": {"thumbs": "up"}}, Rating(1.0, "thumbs")),
        ({"type": "query", "data": {"thumbs": "down"}}, Rating(0.0, "thumbs")),
        ({"type": "explicit", "data": {"rating": 4}}, Rating(4.0, "stars", 1.0, 5.0)),
        ({"type": "implicit", "data": {"action": "copy"}}, Signal("copy", 1.0)),
        ({"type": "implicit", "data": {"signal": "dwell", "value": 3.5}}, Signal("dwell", 3.5)),
        ({"type": "explicit", "data": {"comment": "hm"}}, Signal("explicit", 1.0)),
        (
            {"type": "metric", "data": {"metric": "tokens", "value": 7, "unit": "t"}},
            Measurement("tokens", 7.0, "t"),
        ),
        ({"type": "performance", "data": {"latency_ms": 80}}, Measurement("latency_ms", 80.0)),
        ({"type": "error", "data": {}}, Signal("error", 1.0)),
        (
            {"type": "quality", "data": {"label": "good", "score": 0.9}},
            Annotation("quality", 0, "good", "", 0.9),
        ),
    ],
)
def test_what_an_event_holds_decides_its_kind(
    event: dict[str, Any], feedback: Any, world: World
) -> None:
    assert world.fact({"message_id": "m", "session_id": "s", **event}).feedback == feedback


def test_a_correction_in_an_event_is_a_correction_with_its_distance(world: World) -> None:
    data = {"original": "abcd", "corrected": "abxd", "explanation": "typo"}
    item = {"type": "explicit", "source": "user_correction", "output_id": "o", "data": data}
    assert world.fact(item).feedback == Correction("abcd", "abxd", "typo", 0.25)


def test_an_event_that_is_a_correction_only_by_name_is_refused(world: World) -> None:
    data = {"corrected": "SELECT 1"}
    item = {"type": "explicit", "source": "user_correction", "output_id": "o", "data": data}
    assert "data.original" in world.refused(item)


def test_an_events_own_message_keeps_its_place_beside_a_comment(world: World) -> None:
    item = {"type": "query", "output_id": "o", "message": "own", "data": {"comment": "other"}}
    fact = world.fact(item)
    assert fact.note.message == "own"
    assert restore([fact])["data"] == {"comment": "other"}


def test_short_names_of_members_are_understood_and_come_back(world: World) -> None:
    fact = world.fact({"type": "query", "user": "u", "session": "s", "tenant": "acme"})
    assert fact.note.session_id == "s"
    assert {"user", "session", "tenant"} <= restore([fact]).keys()
