from __future__ import annotations

import pytest
from tests.unit.feedback.world import World

from loopwright.feedback import restore

RATED = {
    "event_id": "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0",
    "user_id": "u",
    "session_id": "s",
    "timestamp": "2026-11-20T09:30:00.000Z",
    "rating": 4,
}


def test_context_becomes_labels_and_comes_back_as_context(world: World) -> None:
    context = {"feature_id": "search", "device_type": "web", "theme": "dark"}
    fact = world.fact({**RATED, "context": context}, "rating")
    assert fact.note.labels == {"feature_id": "search", "device_type": "web"}
    assert restore([fact])["context"] == context


def test_an_unknown_device_is_kept_and_flagged(world: World) -> None:
    fact = world.fact({**RATED, "context": {"device_type": "toaster"}}, "rating")
    assert "unknown_device_type" in fact.note.flags


@pytest.mark.parametrize("missing", ["user_id", "session_id", "event_id", "timestamp", "rating"])
def test_every_member_of_a_rating_is_needed(missing: str, world: World) -> None:
    item = {name: value for name, value in RATED.items() if name != missing}
    assert missing in world.refused(item, "rating")
