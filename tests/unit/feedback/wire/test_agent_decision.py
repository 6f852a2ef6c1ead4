from __future__ import annotations

from tests.unit.feedback.world import World

from loopwright.core.events import Stepped
from loopwright.feedback import restore


def test_a_decision_is_a_step_and_written_as_it_was_sent(world: World) -> None:
    item = {
        "session_id": "s",
        "decision_type": "visualization",
        "decision_data": {"chart": "bar"},
        "outcome": "unheard of",
        "confidence": 0.5,
        "timestamp": "2026-11-27T10:00:00",
    }
    (fact,) = world.take(item, path="step").facts
    assert isinstance(fact, Stepped)
    assert (fact.step.kind, fact.step.confidence) == ("visualization", 0.5)
    back = restore([fact])
    assert {name: back[name] for name in item} == item


def test_a_tenant_that_is_no_text_is_refused(world: World) -> None:
    item = {"session_id": "s", "decision_type": "routing", "tenant_id": 7}
    assert "tenant_id" in world.refused(item, path="step")
