"""The role that learns."""

from __future__ import annotations

from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.experiment import Arm, Experiment
from loopwright.feedback import FeedbackRequest


def test_an_experiment_serves_when_it_is_started_and_learns_from_the_log(
    services: Services,
) -> None:
    catalog, door = services.truth.catalog, services.door
    catalog.experiments.create(
        Experiment(id="x", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
    )
    catalog.experiments.move(DEFAULT_TENANT, "x", "start")
    services.truth.writer.flush()
    services.supervisor.turn("learner")
    before = door.selector.select(DEFAULT_TENANT, "x")
    fact, key = door.intake.accept(DEFAULT_TENANT, FeedbackRequest(before.request_id, 1.0))
    services.truth.writer.append([fact], [key], timeout_s=10)
    services.supervisor.turn("learner")
    assert door.selector.select(DEFAULT_TENANT, "x").snapshot > before.snapshot
    assert services.learner.offset == services.truth.log.head()
