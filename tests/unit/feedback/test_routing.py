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
    key_of,
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


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"kind": "rating", "scale": "thumbs", "value": 1, "session_id": "s"}, "s"),
        ({"kind": "rating", "scale": "thumbs", "value": 1}, "acme"),
        ({"kind": "measurement", "name": "ms", "value": 1, "labels": {"endpoint": "/q"}}, "/q"),
        ({"kind": "measurement", "name": "ms", "value": 1}, "acme"),
        ({"kind": "correction", "before": "a", "after": "b", "session_id": "s"}, "acme"),
        ({"kind": "signal", "name": "copy", "session_id": "s"}, "acme"),
    ],
)
def test_ratings_keep_their_order_by_session_and_metrics_by_endpoint(
    item: Any, key: str, world: World
) -> None:
    fact = world.fact({**item, "output_id": "o"})
    topic = topic_of(fact)
    assert topic is not None
    assert key_of(topic, fact) == key


def test_a_call_and_a_step_are_events_and_a_tick_is_nothing(world: World) -> None:
    (call,) = world.take({"id": "c"}, path="interaction").facts
    (step,) = world.take({"session_id": "s", "kind": "sql"}, path="step").facts
    assert [topic_of(fact) for fact in (call, step, Ticked(1))] == [EVENTS, EVENTS, None]


def test_a_duplicate_is_not_counted(world: World) -> None:
    prepared = world.take({**THUMB, "session_id": "s"}, {**THUMB, "output_id": "p"})
    world.settle(prepared, False, True)
    assert world.intake.topics.counts[RATINGS] == 1
