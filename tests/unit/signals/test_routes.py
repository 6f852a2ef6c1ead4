"""Surrogates over HTTP; fits on real sessions are in tests/flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.signals.world import START, fitted
from tests.unit.warehouse.world import World
from tests.unit.web.serving import Client, serving

from loopwright.backends.files import FolderBlobStore
from loopwright.core.events import Changed
from loopwright.signals.calibration import Calibrator
from loopwright.signals.registry import Surrogates
from loopwright.signals.routes import SurrogateController
from loopwright.testing import ManualClock

ASKED = {"task": "support", "metric": "resolved", "window_days": 1}


class Desk:
    """A registry with one surrogate, an empty warehouse, and an audit trail."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "log")
        self.surrogates = Surrogates(FolderBlobStore(folder / "surrogates"))
        self.surrogates.store("acme", fitted())
        self.heard: list[Changed] = []
        self.calibrator = Calibrator(
            self.surrogates,
            warehouse=self.world.warehouse,
            clock=ManualClock(START),
            audit=self.heard.append,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.world.close()


@pytest.fixture
def client(desk: Desk) -> Iterator[Client]:
    with serving([SurrogateController], calibrator=desk.calibrator) as client:
        yield client


def test_the_current_surrogate_is_read_by_its_task_and_tenant(client: Client) -> None:
    found = client.get("/api/v1/surrogates", params={"task": "support"})
    assert found.status_code == 200, found.text
    assert found.json()["version"] == fitted().version
    assert found.json()["calibration"]["auc"] > 0.5
    for params, headers in (({"task": "other"}, {}), ({"task": "support"}, {"x-tenant": "globex"})):
        assert client.get("/api/v1/surrogates", params=params, headers=headers).status_code == 404
    assert client.get("/api/v1/surrogates").status_code == 400


def test_too_little_to_learn_from_leaves_the_current_surrogate_in_force(
    client: Client, desk: Desk
) -> None:
    refused = client.post("/api/v1/surrogates", json=ASKED)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert "50 are needed" in refused.json()["detail"]
    assert desk.surrogates.current("acme", "support").version == fitted().version
    assert desk.heard == []


@pytest.mark.parametrize(
    "change", [{"window_days": 0}, {"window_days": 4000}, {"task": ""}, {"colour": "red"}]
)
def test_a_request_that_makes_no_sense_is_refused(client: Client, change: object) -> None:
    assert isinstance(change, dict)
    assert client.post("/api/v1/surrogates", json={**ASKED, **change}).status_code in (400, 422)


def test_calibrating_changes_what_is_learned_and_needs_the_scope_for_it(client: Client) -> None:
    reader, sender = {"x-scopes": "read"}, {"x-scopes": "feedback select"}
    assert client.post("/api/v1/surrogates", json=ASKED, headers=reader).status_code == 403
    current = client.get("/api/v1/surrogates", params={"task": "support"}, headers=sender)
    assert current.status_code == 403
