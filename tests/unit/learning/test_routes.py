"""Status and snapshots over HTTP, from a learner that learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.unit.learning.world import TENANT, World, experiment, settle
from tests.unit.web.serving import serving

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.learning import Learner
from loopwright.learning.routes import LearningController

URL = "/api/v1/experiments/greeting"


@pytest.fixture
def catalog(world: World) -> Iterator[Catalog]:
    with closing(SqliteDatabase(":memory:")) as database:
        made = Catalog(database, clock=world.clock, ids=world.ids)
        made.tenants.create("acme")
        made.experiments.create(experiment())
        yield made


@pytest.fixture
def world() -> Iterator[World]:
    made = World(experiment())
    yield made
    made.close()


@pytest.fixture
def learner(world: World) -> Learner:
    return settle(world.learner())


@pytest.fixture
def client(catalog: Catalog, learner: Learner) -> Iterator[TestClient[Litestar]]:
    with serving([LearningController], learner=learner, catalog=catalog) as client:
        client.headers["x-tenant"] = TENANT
        yield client


def test_a_status_comes_with_its_rate_and_its_advice(
    world: World, learner: Learner, client: TestClient[Litestar]
) -> None:
    assert client.get(f"{URL}/status").json()["feedback_rate"] is None
    world.reward(world.decide("a"), 1.0)
    world.decide("b")
    settle(learner)
    body = client.get(f"{URL}/status").json()
    assert (body["feedback_rate"], body["advice"]) == (0.5, [])
    assert [arm["n"] for arm in body["status"]["arms"]] == [1, 0, 0]


def test_a_snapshot_is_taken_listed_and_shown(client: TestClient[Litestar]) -> None:
    taken = client.post(f"{URL}/snapshots")
    assert (taken.status_code, taken.json()["serving"]) == (201, True)
    version = taken.json()["version"]
    assert [s["version"] for s in client.get(f"{URL}/snapshots").json()["items"]] == [version]
    shown = client.get(f"{URL}/snapshots/{version}").json()
    assert [arm["arm_id"] for arm in shown["arms"]] == ["a", "b", "c"]


@pytest.mark.parametrize("version", ["newest", "-1", "1.5", "٣", "1" * 19, "%20"])
def test_a_version_that_is_no_offset_names_no_snapshot(
    client: TestClient[Litestar], version: str
) -> None:
    assert client.get(f"{URL}/snapshots/{version}").status_code == 404
    assert client.post(f"{URL}/snapshots/{version}/rollback").status_code == 404


def test_a_rollback_answers_once_it_serves_and_is_by_the_key_that_asked(
    world: World, learner: Learner, client: TestClient[Litestar]
) -> None:
    version = client.post(f"{URL}/snapshots").json()["version"]
    world.reward(world.decide("a"), 1.0)
    settle(learner)
    learner.start()
    answer = client.post(f"{URL}/snapshots/{version}/rollback")
    learner.stop()
    offset = world.log.head()
    assert answer.status_code == 200
    assert answer.json() == {"version": version, "offset": offset, "is_applied": True}
    [(_, fact)] = [(at, fact) for at, fact in world.reader.replay() if at == offset]
    assert (type(fact).__name__, getattr(fact, "actor", "")) == ("RolledBack", "key-1")


def test_reading_needs_the_scope_to_read_and_going_back_the_scope_to_manage(
    client: TestClient[Litestar],
) -> None:
    client.headers["x-scopes"] = "select feedback read"
    assert client.get(f"{URL}/status").status_code == 200
    assert client.post(f"{URL}/snapshots").status_code == 403
    assert client.post(f"{URL}/snapshots/1/rollback").status_code == 403
    client.headers["x-scopes"] = "manage"
    assert client.get(f"{URL}/status").status_code == 403


def test_an_experiment_of_another_tenant_is_not_there(client: TestClient[Litestar]) -> None:
    client.headers["x-tenant"] = "acme"
    for path in ("status", "snapshots", "snapshots/1"):
        assert client.get(f"{URL}/{path}").status_code == 404
