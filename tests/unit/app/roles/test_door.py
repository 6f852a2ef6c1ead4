"""The role that selects and takes feedback."""

from __future__ import annotations

import pytest

from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.errors import TokenKeyRetired
from loopwright.core.experiment import Arm, Experiment
from loopwright.feedback import FeedbackRequest


@pytest.fixture
def token(services: Services) -> str:
    catalog = services.truth.catalog
    catalog.experiments.create(
        Experiment(id="x", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
    )
    catalog.experiments.move(DEFAULT_TENANT, "x", "start")
    services.supervisor.turn("learner")
    return services.door.selector.select(DEFAULT_TENANT, "x").request_id


def test_feedback_is_taken_for_what_the_same_door_selected(services: Services, token: str) -> None:
    fact, _ = services.door.intake.accept(DEFAULT_TENANT, FeedbackRequest(token, 1.0))
    assert fact.decision.experiment_id == "x"


def test_a_fresh_signing_key_reaches_select_and_feedback_at_once(
    services: Services, token: str
) -> None:
    door = services.door
    old = door.ring.ids()[-1]
    door.ring.rotate()
    renewed = door.selector.select(DEFAULT_TENANT, "x").request_id
    for each in (token, renewed):
        door.intake.accept(DEFAULT_TENANT, FeedbackRequest(each, 1.0))
    door.ring.retire(old)
    door.intake.accept(DEFAULT_TENANT, FeedbackRequest(renewed, 1.0))
    with pytest.raises(TokenKeyRetired):
        door.intake.accept(DEFAULT_TENANT, FeedbackRequest(token, 1.0))


def test_no_endpoint_classifies_unless_one_is_named(services: Services) -> None:
    assert not services.door.pipeline.asks_others
    assert services.door.classifier_fell_back == {}
