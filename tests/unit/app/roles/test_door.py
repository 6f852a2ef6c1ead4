"""The role that selects and takes feedback."""

from __future__ import annotations

import random
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from loopwright.app.roles import Door, following_tasks
from loopwright.app.settings import load_settings
from loopwright.app.supervise import Supervisor
from loopwright.app.wiring import Services
from loopwright.backends import resolve
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.errors import TokenKeyRetired
from loopwright.core.experiment import Arm, Experiment
from loopwright.feedback import FeedbackRequest
from loopwright.policies import Snapshots


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


def test_a_door_without_a_learner_beside_it_serves_what_one_publishes(tmp_path: Path) -> None:
    with ExitStack() as opened:
        url = resolve.sqlite_url(tmp_path)
        outlet = opened.enter_context(closing(resolve.snapshot_store(url)))
        services = Services(load_settings(data_dir=tmp_path), outlet=outlet)
        opened.callback(services.close)
        experiments = services.truth.catalog.experiments
        experiments.create(
            Experiment(id="x", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
        )
        experiments.move(DEFAULT_TENANT, "x", "start")
        services.supervisor.turn("learner")
        snapshots = Snapshots()
        store = opened.enter_context(closing(resolve.snapshot_store(url)))
        tasks = following_tasks(store, snapshots)
        door = Door(
            services.truth, services.settings, opened, snapshots=snapshots, rng=random.Random(1)
        )
        # It serves before its task has run: what is stored was taken over at once.
        token = door.selector.select(DEFAULT_TENANT, "x").request_id
        fact, key = services.door.intake.accept(DEFAULT_TENANT, FeedbackRequest(token, 1.0))
        services.truth.writer.append([fact], [key], timeout_s=10)
        services.supervisor.turn("learner")
        supervisor = Supervisor(tasks, clock=services.truth.clock)
        supervisor.turn("snapshots")
        assert list(supervisor.failing()) == []
        served = snapshots.get(DEFAULT_TENANT, "x")
        assert served is not None
        assert served.offset == services.truth.log.head()
