"""Clearances over HTTP, where they are called releases; what they do to figures is in tests/flow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.unit.trust.test_clearances import NOW, Desk
from tests.unit.web.serving import Client, serving

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.core.ids import Ids
from loopwright.trust.routes import ClearanceController

PATH = "/api/v1/feedback/trust/acme/releases"
RUSH = {"experiment_id": "greeting", "arm_id": "a", "from_ms": NOW - 90, "to_ms": NOW - 10}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(SqliteDatabase(":memory:")) as database:
        yield Desk(database)


@pytest.fixture
def client(desk: Desk) -> Iterator[Client]:
    with closing(SqliteDatabase(":memory:")) as database:
        catalog = Catalog(database, clock=desk.clock, ids=Ids(desk.clock, random.Random(1)))
        for tenant in ("acme", "globex"):
            catalog.tenants.create(tenant)
        with serving(
            [ClearanceController],
            catalog=catalog,
            clearances=desk.clearances,
            clearing=desk.clearing,
        ) as client:
            yield client


def test_a_release_is_made_listed_and_withdrawn_and_says_by_whom(
    client: Client, desk: Desk
) -> None:
    made = client.post(PATH, json={**RUSH, "note": "TV"})
    assert made.status_code == 201, made.text
    assert (made.json()["released_by"], made.json()["note"]) == ("key-1", "TV")
    again = client.post(PATH, json=RUSH)
    assert (again.status_code, again.json()["release_id"]) == (409, made.json()["id"])

    withdrawn = client.delete(f"{PATH}/{made.json()['id']}")
    assert (withdrawn.status_code, withdrawn.json()["withdrawn_by"]) == (200, "key-1")
    assert client.delete(f"{PATH}/{made.json()['id']}").status_code == 404
    (listed,) = client.get(PATH).json()["items"]
    assert listed["withdrawn_by"] == "key-1"
    assert [change.action for change in desk.heard] == ["release", "withdraw"]


def test_the_newest_releases_come_first_and_no_more_than_asked_for(
    client: Client, desk: Desk
) -> None:
    for n in range(3):
        desk.clock.advance(seconds=1)
        body = {**RUSH, "from_ms": NOW - 90 - n, "note": str(n)}
        assert client.post(PATH, json=body).status_code == 201
    listed = client.get(PATH, params={"limit": 2}).json()["items"]
    assert [item["note"] for item in listed] == ["2", "1"]
    for limit in (0, 1001, "many"):
        assert client.get(PATH, params={"limit": limit}).status_code == 400


def test_another_tenant_is_not_there_whether_it_exists_or_not(client: Client, desk: Desk) -> None:
    rival = {"x-tenant": "globex"}
    made = client.post(PATH, json=RUSH).json()
    unknown = PATH.replace("acme", "nobody")
    for path in (PATH, unknown):
        assert client.post(path, json=RUSH, headers=rival).status_code == 404
        assert client.get(path, headers=rival).status_code == 404
        assert client.delete(f"{path}/{made['id']}", headers=rival).status_code == 404
    assert desk.in_force(0, NOW) == [""]


def test_without_the_scope_nothing_is_said_about_tenants(client: Client) -> None:
    reader = {"x-scopes": "read"}
    for path in (PATH, PATH.replace("acme", "nobody")):
        assert client.post(path, json=RUSH, headers=reader).status_code == 403
        assert client.delete(f"{path}/x", headers=reader).status_code == 403
    assert client.get(PATH, headers={"x-scopes": "manage"}).status_code == 403
