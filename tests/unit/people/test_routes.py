"""Consent, erasure and raw copies over HTTP: who may, and what a refusal leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.feedback.world import THUMB, World
from tests.unit.people.log import Log
from tests.unit.web.serving import Client, serving

from loopwright.core.events import Consented, Erased
from loopwright.people.routes import CONTROLLERS


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def client(world: World, log: Log) -> Iterator[Client]:
    def rows(tenant: str, person: str, ids: Any) -> dict[str, int]:
        return {"feedback": 2 if person else 0}

    with serving(
        CONTROLLERS,
        people=world.people,
        commit=log.append,
        quarantine=world.quarantine,
        count_rows=rows,
        raw_copies=None,
        scrub=None,
    ) as client:
        yield client


def test_a_consent_names_the_person_by_pseudonym_and_is_in_the_log(
    client: Client, log: Log, world: World
) -> None:
    path = "/api/v1/people/ann@example.com/consent"
    answer = client.post(path, json={"scopes": ["store"]})
    assert answer.status_code == 200, answer.text
    person = world.people.find("acme", "ann@example.com")
    assert answer.json() == {"person": person.id, "scopes": ["store"], "offset": 1}
    assert "ann@example.com" not in answer.text
    (fact,) = log.facts
    assert isinstance(fact, Consented)
    assert client.post(path, json={"scopes": []}).json()["scopes"] == []


@pytest.mark.parametrize(
    "body", [{"scopes": ["fly"]}, {"scopes": "store"}, {}, {"scopes": ["analyze"], "x": 1}]
)
def test_a_consent_that_is_none_changes_nothing(client: Client, log: Log, body: Any) -> None:
    assert client.post("/api/v1/people/u/consent", json=body).status_code in (400, 422)
    assert log.facts == []


def test_an_erasure_says_what_went_and_a_second_one_finds_nobody(
    client: Client, log: Log, world: World
) -> None:
    world.fact(THUMB)
    erased = client.post("/api/v1/people/u/erase")
    assert (erased.status_code, erased.json()["rows"]) == (200, {"feedback": 2})
    assert isinstance(log.facts[-1], Erased)
    again = client.post("/api/v1/people/u/erase")
    assert again.status_code == 404
    assert again.headers["content-type"].startswith("application/problem+json")


def test_a_person_of_another_tenant_is_not_there(client: Client, log: Log, world: World) -> None:
    world.fact(THUMB)
    answer = client.post("/api/v1/people/u/erase", headers={"x-tenant": "globex"})
    assert answer.status_code == 404
    assert log.facts == []
    assert world.people.find("acme", "u").id


def test_people_need_the_scope_to_manage_and_raw_copies_that_of_an_admin(
    client: Client, log: Log
) -> None:
    reader = {"x-scopes": "read feedback select"}
    for path in ("u/consent", "u/erase"):
        answer = client.post(f"/api/v1/people/{path}", json={"scopes": []}, headers=reader)
        assert answer.status_code == 403, path
    assert client.get("/api/v1/feedback/raw/e").status_code == 403
    off = client.get("/api/v1/feedback/raw/e", headers={"x-scopes": "admin"})
    assert (off.status_code, off.json()["code"]) == (404, "raw_not_kept")
    assert "raw_copies" in off.json()["detail"]
    assert log.facts == []
