from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import SIGNER, World

from loopwright.core.feedback import (
    Rating,
    Signal,
)


@pytest.mark.parametrize(
    ("action", "feedback"),
    [
        ({"type": "signal", "kind": "copy", "value": 1}, Signal("copy", 1.0)),
        ({"type": "rating", "scale": "thumbs", "value": 0}, Rating(0.0, "thumbs")),
        ({"type": "rating", "scale": "stars", "value": 4}, Rating(4.0, "stars", 1.0, 5.0)),
    ],
)
def test_an_action_is_a_signal_or_a_rating(action: Any, feedback: Any, world: World) -> None:
    item = {"request_id": SIGNER.sign(world.decision()), "at_ms": 1_750_000_000_000, **action}
    assert world.fact(item, "signals").feedback == feedback


def test_an_action_is_recognised_beside_other_shapes_by_its_time(world: World) -> None:
    item = {"type": "signal", "kind": "copy", "value": 1, "session_id": "s"}
    assert world.fact({**item, "at_ms": 1_750_000_000_000}).note.shape == "browser"
    assert world.fact(item).note.shape == "event"
