from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import THUMB, World

from loopwright.core.events import Ticked
from loopwright.feedback.routing import (
    CORRECTIONS,
    EVENTS,
    METRICS,
    RATINGS,
    Topic,
    topic_of,
)


@pytest.mark.parametrize(
    ("item", "topic"),
    [
        ({"kind": "rating", "scale": "thumbs", "value": 1}, RATINGS),
        ({"kind": "correction", "before": "a", "after": "b"}, CORRECTIONS),
        ({"kind": "measurement", "name": "ms", "value": 1}, METRICS),
        ({"kind": "signal", "name": "copy"}, EVENTS),
    ],
)
def test_the_kind_of_feedback_decides_its_topic(item: Any, topic: Topic, world: World) -> None:
    assert topic_of(world.fact({**item, "output_id": "o"})) == topic


def test_a_call_and_a_step_are_events_and_a_tick_is_nothing(world: World) -> None:
    (call,) = world.take({"id": "c"}, path="interaction").facts
    (step,) = world.take({"session_id": "s", "kind": "sql"}, path="step").facts
    assert [topic_of(fact) for fact in (call, step, Ticked(1))] == [EVENTS, EVENTS, None]


def test_a_duplicate_is_not_counted(world: World) -> None:
    prepared = world.take({**THUMB, "session_id": "s"}, {**THUMB, "output_id": "p"})
    world.settle(prepared, False, True)
    assert world.intake.topics.counts[RATINGS] == 1
