"""Quotas of two tenants over HTTP: what is refused, what is said, and what a restart keeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from loopwright.cli import run
from loopwright.client import Client
from loopwright.core.errors import Forbidden, QuotaExceeded

from .conftest import Server

GREETING = {"id": "greeting", "arms": [{"id": "a"}, {"id": "b"}]}


class Tenant:
    """A tenant with an admin key and a running experiment."""

    def __init__(self, server: Server, id: str) -> None:
        self._server = server
        self.id = id
        server.post("/tenants", {"id": id}).raise_for_status()
        made = server.post("/keys", {"role": "admin"}, params={"tenant_id": id})
        self.key: str = made.json()["secret"]
        self("POST", "/experiments", GREETING).raise_for_status()
        self("POST", "/experiments/greeting/start").raise_for_status()

    def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        json = {} if body is None else {"json": body}
        return self._server.http.request(method, f"/api/v1{path}", headers=headers, **json)

    def allow(self, **quotas: int) -> None:
        self._server.http.put(f"/api/v1/tenants/{self.id}/quotas", json=quotas).raise_for_status()

    def select(self) -> httpx.Response:
        return self("POST", "/agent/select", {"experiment_id": "greeting"})

    def token(self) -> str:
        answer = self.select()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    def usage(self) -> dict[str, Any]:
        found: dict[str, Any] = self("GET", f"/tenants/{self.id}/usage").json()
        return found


_numbers = itertools.count()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not stop it; each has tenants of its own."""
    running = Server(tmp_path_factory.mktemp("standing") / "data")
    yield running
    assert running.stop() == 0, running.said


@pytest.fixture
def acme(standing: Server) -> Tenant:
    return Tenant(standing, f"acme-{next(_numbers)}")


@pytest.fixture
def globex(standing: Server) -> Tenant:
    return Tenant(standing, f"globex-{next(_numbers)}")


def until_refused(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Return the first refusal of a call that three times a minute may be made; a minute may end meanwhile."""
    return next(answer for _ in range(8) if (answer := call()).status_code == 429)


def reward(token: str, **more: Any) -> dict[str, Any]:
    return {"request_id": token, "reward": 1, **more}


def test_a_quota_of_one_tenant_is_no_other_tenants(
    standing: Server, acme: Tenant, globex: Tenant
) -> None:
    assert acme("PUT", f"/tenants/{acme.id}/quotas", {}).status_code == 403
    acme.allow(requests_per_minute=3)
    refused = until_refused(acme.select)
    problem, headers = refused.json(), refused.headers
    assert (problem["code"], problem["quota"]) == ("quota_exceeded", "requests_per_minute")
    assert (problem["used"], problem["limit"]) == (3, 3)
    assert problem["resets_at_ms"] % 60_000 == 0
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["ratelimit-policy"] == '"requests_per_minute";q=3;w=60'
    assert headers["ratelimit"] == f'"requests_per_minute";r=0;t={headers["retry-after"]}'
    # The control plane refuses too, and its answer has the same headers.
    beyond = until_refused(lambda: acme("GET", "/experiments"))
    assert beyond.headers["ratelimit-policy"] == headers["ratelimit-policy"]
    assert [globex.select().status_code for _ in range(5)] == [200] * 5
    used = standing.get(f"/tenants/{acme.id}/usage").json()["requests_per_minute"]
    assert used["limit"] == 3
    acme.allow()
    assert [acme.select().status_code for _ in range(5)] == [200] * 5


def test_the_operator_is_not_held_to_the_quota_of_the_tenant_whose_key_it_has(
    standing: Server,
) -> None:
    path = "/api/v1/tenants/default/quotas"
    standing.http.put(path, json={"requests_per_minute": 0}).raise_for_status()
    assert standing.get("/experiments").status_code == 200
    made = standing.post("/keys", {"role": "viewer"}).json()["secret"]
    headers = {"authorization": f"Bearer {made}"}
    assert standing.get("/experiments", headers=headers).status_code == 429
    standing.http.put(path, json={}).raise_for_status()
    assert standing.get("/experiments", headers=headers).status_code == 200


def test_a_batch_partly_over_the_quota_answers_for_each_item(acme: Tenant, globex: Tenant) -> None:
    tokens = [acme.token() for _ in range(5)]
    acme.allow(events_per_day=3)
    batch = [reward(token, event_id=f"e-{n}") for n, token in enumerate(tokens)]
    answer = acme("POST", "/agent/feedback/batch", {"items": batch})
    found = answer.json()
    assert [item["status"] for item in found["results"]] == [201, 201, 201, 429, 429]
    assert (found["accepted"], found["rejected"]) == (3, 2)
    assert found["results"][4]["problem"]["quota"] == "events_per_day"
    alone = acme("POST", "/agent/feedback", batch[3])
    assert (alone.status_code, alone.headers["ratelimit-policy"]) == (
        429,
        '"events_per_day";q=3;w=86400',
    )
    # Another shape by another route counts in the same quota; it leaves nothing in the quarantine.
    ratings = [
        {"kind": "rating", "scale": "stars", "value": 4, "output_id": f"o-{n}"} for n in "ab"
    ]
    acme.allow(events_per_day=4)
    typed = acme("POST", "/feedback", {"items": ratings}).json()
    assert [item["status"] for item in typed["results"]] == [201, 429]
    assert acme("GET", "/quarantine").json()["items"] == []
    # What was refused is taken once there is room: nothing of it was kept as a duplicate.
    acme.allow(events_per_day=100)
    again = acme("POST", "/agent/feedback/batch", {"items": batch}).json()
    assert [item["status"] for item in again["results"]] == [200, 200, 200, 201, 201]
    assert acme.usage()["events_per_day"]["used"] == 6
    assert globex.usage()["events_per_day"]["used"] == 0


def test_duplicates_and_conflicts_use_nothing_up(acme: Tenant) -> None:
    token = acme.token()
    acme.allow(events_per_day=2)
    statuses = [
        acme("POST", "/agent/feedback", reward(token, event_id="e", reward=value)).status_code
        for value in (1, 1, 1, 0)
    ]
    assert statuses == [201, 200, 200, 409]
    item = {"kind": "rating", "scale": "stars", "value": 4, "output_id": "o", "event_id": "r"}
    assert [acme("POST", "/feedback", item).status_code for _ in range(3)] == [201, 429, 429]
    assert acme.usage()["events_per_day"]["used"] == 2


def test_a_restart_and_a_kill_keep_what_was_used_today(server: Server) -> None:
    acme = Tenant(server, "acme")
    acme.allow(events_per_day=2)
    tokens = [acme.token() for _ in range(4)]
    for n, token in enumerate(tokens[:2]):
        assert acme("POST", "/agent/feedback", reward(token)).status_code == 201, n
    stored = acme.usage()["stored_bytes"]["used"]
    assert stored > 0
    server.kill()
    server.start()
    assert acme("POST", "/agent/feedback", reward(tokens[2])).status_code == 429
    assert acme.usage()["events_per_day"]["used"] == 2
    assert acme.usage()["stored_bytes"]["used"] >= stored
    assert server.stop() == 0, server.said
    server.start()
    assert acme("POST", "/agent/feedback", reward(tokens[2])).status_code == 429


def test_stored_bytes_stop_feedback_and_not_selects(acme: Tenant) -> None:
    token = acme.token()
    acme("POST", "/agent/feedback", reward(token)).raise_for_status()
    acme.allow(stored_bytes=acme.usage()["stored_bytes"]["used"])
    refused = acme("POST", "/agent/feedback", reward(acme.token()))
    assert (refused.status_code, refused.json()["resets_at_ms"]) == (429, None)
    assert refused.headers["retry-after"] == "3600"
    assert refused.headers["ratelimit"] == '"stored_bytes";r=0'


def test_experiments_beyond_the_quota_are_refused_until_one_ends(acme: Tenant) -> None:
    acme.allow(experiments=1)
    refused = acme("POST", "/experiments", GREETING | {"id": "second"})
    assert (refused.status_code, refused.json()["quota"]) == (429, "experiments")
    acme("POST", "/experiments/greeting/end").raise_for_status()
    assert acme("POST", "/experiments", GREETING | {"id": "second"}).status_code == 201


def test_client_and_commands_do_what_the_routes_do(
    standing: Server, acme: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"--data={standing.data}"
    with Client(standing.url, standing.key) as operator, Client(standing.url, acme.key) as admin:
        assert operator.tenants.create("initech").id == "initech"
        assert [tenant.id for tenant in admin.tenants.list()] == [acme.id]
        with pytest.raises(Forbidden):
            admin.tenants.set_quotas(acme.id, experiments=9)
        made = operator.keys.create(role="viewer", tenant_id="initech")
        assert (made["key"]["tenant_id"], made["key"]["scopes"]) == ("initech", ["read"])
        operator.tenants.set_quotas(acme.id, experiments=1)
        with pytest.raises(QuotaExceeded) as refused:
            admin.experiments.create("second", arms=["a", "b"])
        assert refused.value.detail["quota"] == "experiments"
        assert admin.tenants.usage(acme.id).experiments.used == 1
    assert run(["tenants", "create", "hooli", data]) == 0
    assert run(["tenants", "quotas", "hooli", "--events-per-day", "10", data]) == 0
    assert "events per day 10" in capsys.readouterr().out
    assert run(["keys", "create", "--role", "reviewer", "--tenant", "hooli", data, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"]["scopes"] == ["feedback", "read", "review"]
    assert run(["tenants", "usage", "hooli", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["events_per_day"]["limit"] == 10
    assert run(["tenants", "list", data]) == 0
    assert run(["tenants", "usage", data]) == 0
    assert "unlimited" in capsys.readouterr().out
    assert run(["keys", "create", data]) == 2
