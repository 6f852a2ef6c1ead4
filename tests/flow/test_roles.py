"""Every route with the key of every role, and without one: what the matrix in the reference says holds.

The routes come from the description of the API, so a new route is tested without a line here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from docs.generate import needed_scopes

from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.principal import ROLES, Scope, granted

API: Final = "/api/v1"
NOBODY: Final = {
    "experiment_id": "none",
    "arm_id": "none",
    "version": "0",
    "key_id": "none",
    "item_id": "none",
    "event_id": "none",
    "person_id": "none",
    "session_id": "none",
    "release_id": "none",
    "of_tenant": "acme",
    "tenant": "acme",
    "table": "decisions",
    "version_id": "none",
    "other_id": "none",
    "rollout_id": "none",
    "dataset_id": "none",
    "limit_id": "none",
    "order": "hold",
    "trigger_id": "none",
    "delivery_id": "none",
}
"""Values for the parameters in paths: things that are not there, in the caller's own tenant."""
BRIEF: Final = {"GET /api/v1/feedback/insights/{of_tenant}": {"include": "joins"}}
"""Queries that make an answer quick to get."""
OWN: Final = {
    "GET /api/v1/feedback/decisions/{session_id}",
    "POST /api/v1/people/{person_id}/consent",
}
"""Routes whose id is the tenant's own name for something: the same name of another tenant is another thing."""

Ask = Callable[[httpx.AsyncClient], Awaitable[Any]]


class Site:
    """An application with the tenants acme and globex, asked within this process."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.catalog = services.truth.catalog

    def key(self, role: str, tenant_id: str = "acme") -> str:
        """Return the secret of a new key of that role."""
        scopes = next(scopes for name, scopes in ROLES.items() if name == role)
        return self.catalog.keys.create(tenant_id, scopes, name=role).secret

    def run(self, ask: Ask) -> Any:
        """Return what `ask` returns for a client of the application."""

        async def asked() -> Any:
            front = application(self.services, asyncio.get_running_loop())
            transport = httpx.ASGITransport(front)
            async with httpx.AsyncClient(transport=transport, base_url="http://loop") as client:
                return await ask(client)

        return asyncio.run(asked())


def filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"{path}: say above what stands for its parameter"
    return path


async def call(
    client: httpx.AsyncClient, route: str, secret: str | None, values: dict[str, str], **more: Any
) -> httpx.Response:
    method, path = route.split()
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    body = {"json": more.pop("json", {})} if method in ("POST", "PATCH", "PUT") else {}
    return await client.request(method, filled(path, values), headers=headers, **body, **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("roles")
    services = Services(load_settings(data_dir=folder, raw_copies=True))
    services.start()
    for tenant in ("acme", "globex"):
        services.truth.catalog.tenants.create(tenant)
    yield Site(services)
    services.close()


@pytest.fixture(scope="module")
def needed() -> list[tuple[str, Scope | None]]:
    """Every route with the scope that it declares."""
    return needed_scopes()


# About 400 requests, among them the reports, which open the warehouse: two seconds.
def test_every_route_lets_in_the_roles_that_the_matrix_names_and_no_other(
    site: Site, needed: list[tuple[str, Scope | None]]
) -> None:
    secrets = {role: site.key(role) for role in ROLES}

    async def ask(client: httpx.AsyncClient) -> None:
        for route, scope in needed:
            for role, held in ROLES.items():
                answer = await call(client, route, secrets[role], NOBODY, params=BRIEF.get(route))
                if scope is None or granted(scope, held):
                    assert answer.status_code not in (401, 403), (route, role, answer.text)
                    assert answer.status_code < 500, (route, role, answer.text)
                else:
                    problem = answer.json()
                    assert (answer.status_code, problem["code"]) == (403, "forbidden"), (
                        route,
                        role,
                    )
                    assert f"needs the scope '{scope}'" in problem["detail"], (route, role)
                    assert problem["expected"] == scope

    assert len(needed) > 50
    site.run(ask)


def test_every_route_but_the_probes_needs_a_key_that_is_known(
    site: Site, needed: list[tuple[str, Scope | None]]
) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        for route, scope in needed:
            for secret in (None, "lw_000000000000_guessed"):
                answer = await call(client, route, secret, NOBODY)
                if scope is not None:
                    found = answer.status_code, answer.json()["code"]
                    assert found == (401, "unauthenticated"), route

    site.run(ask)
    assert {route for route, scope in needed if scope is None} == {
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    }


def furnish(site: Site) -> tuple[dict[str, str], str]:
    """Give globex one of everything; return the ids, and a token."""
    services = site.services
    shape = Experiment(id="theirs", tenant_id="globex", arms=(Arm(id="a"), Arm(id="b")))
    site.catalog.experiments.create(shape)
    site.catalog.experiments.move("globex", "theirs", "start")
    token = services.door.selector.select("globex", "theirs").request_id
    theirs = site.key("admin", "globex")

    async def ask(client: httpx.AsyncClient) -> dict[str, str]:
        async def sent(route: str, body: Any, **values: str) -> Any:
            return (await call(client, route, theirs, NOBODY | values, json=body)).json()

        item = {
            "kind": "comment",
            "event_id": "said",
            "text": "mail jane@example.com",
            "user_id": "jane",
        }
        await sent(f"POST {API}/feedback", item)
        refused = await sent(f"POST {API}/feedback", {"kind": "rating", "value": "no"})
        at = {"from_ms": 1, "to_ms": 2}
        released = await sent(
            f"POST {API}/feedback/trust/{{of_tenant}}/releases", at, of_tenant="globex"
        )
        snapshot = await sent(
            f"POST {API}/experiments/{{experiment_id}}/snapshots", None, experiment_id="theirs"
        )
        prompt = {"id": "v", "kind": "prompt", "content": "x"}
        await sent(f"POST {API}/versions", prompt)
        begun = {"id": "r", "experiment_id": "theirs", "champion": "a", "challenger": "b"}
        await sent(f"POST {API}/rollouts", begun | {"assigned": "decision"})
        rating = {"kind": "rating", "scale": "stars", "value": 1, "output_id": "o"}
        await sent(f"POST {API}/feedback", rating)
        full = {"id": "t", "condition": {"kind": "volume", "above": 0}}
        await sent(f"POST {API}/triggers", full | {"actions": [{"kind": "github"}]})
        await asyncio.to_thread(services.truth.writer.flush)
        await asyncio.to_thread(services.reacting.triggers.look, "globex", "t")
        (delivery,) = services.reacting.deliveries.list("globex").items
        await sent(f"PUT {API}/limits/{{limit_id}}", {"prior": 5}, limit_id="theirs-too")
        fix = {"kind": "correction", "query": "q", "before": "this way", "after": "This way, now."}
        await sent(f"POST {API}/feedback", fix | {"output_id": "o", "event_id": "fix"})
        built = await sent(f"POST {API}/datasets", {"name": "p", "splits": {"train": 1.0}})
        return {
            "trigger_id": "t",
            "delivery_id": delivery.id,
            "dataset_id": built["id"],
            "limit_id": "theirs-too",
            "version_id": "v",
            "other_id": "v",
            "rollout_id": "r",
            "order": "hold",
            "item_id": refused["quarantine_id"],
            "release_id": released["id"],
            "version": str(snapshot["version"]),
        }

    made = {
        "experiment_id": "theirs",
        "arm_id": "a",
        "key_id": site.catalog.keys.all("globex")[0].id,
        "event_id": "said",
        "person_id": "jane",
        "session_id": "s-1",
        "of_tenant": "globex",
        "tenant": "globex",
        "table": "decisions",
    }
    return made | site.run(ask), token


def test_an_admin_finds_nothing_of_another_tenant_on_any_route_with_an_id(
    site: Site, needed: list[tuple[str, Scope | None]]
) -> None:
    ids, token = furnish(site)
    ours = site.key("admin", "acme")

    async def ask(client: httpx.AsyncClient) -> None:
        for route, scope in needed:
            if "{" not in route or "{table}" in route or route in OWN or scope == "operator":
                continue
            body = {"scopes": ["store"], "from_ms": 1, "to_ms": 2, "id": "c"}
            answer = await call(client, route, ours, ids, json=body)
            assert answer.status_code in (403, 404) or (
                # A body that fits no route: what is wrong with it is said before anything is looked up.
                answer.status_code == 422 and "globex" not in answer.text
            ), (route, answer.text)
        for route, scope in needed:
            if scope is not None and scope != "operator":
                at = {"tenant_id": "globex"}
                answer = await call(client, route, ours, NOBODY, params=at)
                assert answer.status_code in (404, 422), (route, answer.text)
        selects = await call(
            client, f"POST {API}/agent/select", ours, {}, json={"experiment_id": "theirs"}
        )
        assert selects.status_code == 404
        reward = {"request_id": token, "reward": 1}
        sends = await call(client, f"POST {API}/agent/feedback", ours, {}, json=reward)
        assert (sends.status_code, sends.json()["code"]) == (403, "token_foreign")

    site.run(ask)


def test_the_operator_acts_for_any_tenant_and_an_admin_is_told_that_there_is_none(
    site: Site,
) -> None:
    operator, admin = site.key("operator"), site.key("admin")

    async def ask(client: httpx.AsyncClient) -> None:
        for path in (f"{API}/experiments", f"{API}/keys", f"{API}/feedback/stats"):
            for tenant, status in (("globex", 404), ("nowhere", 404), ("acme", 200)):
                at = {"tenant_id": tenant}
                answer = await call(client, f"GET {path}", admin, {}, params=at)
                assert answer.status_code == status, (path, tenant)
            answer = await call(client, f"GET {path}", operator, {}, params={"tenant_id": "globex"})
            assert answer.status_code == 200
        seen = await call(client, f"GET {API}/tenants", operator, {})
        assert {tenant["id"] for tenant in seen.json()["items"]} >= {"acme", "default", "globex"}
        seen = await call(client, f"GET {API}/tenants", admin, {})
        assert [tenant["id"] for tenant in seen.json()["items"]] == ["acme"]

    site.run(ask)


def test_no_admin_makes_an_operator_key_or_ends_one(site: Site) -> None:
    admin, operator = site.key("admin"), site.key("operator")
    theirs = site.catalog.authenticate(operator).key_id

    async def ask(client: httpx.AsyncClient) -> None:
        for body in ({"role": "operator"}, {"scopes": ["read", "operator"]}):
            refused = await call(client, f"POST {API}/keys", admin, {}, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        for move in ("rotate", "revoke"):
            refused = await call(client, f"POST {API}/keys/{theirs}/{move}", admin, {})
            assert refused.status_code == 403
        made = await call(client, f"POST {API}/keys", operator, {}, json={"role": "viewer"})
        assert (made.status_code, made.json()["key"]["scopes"]) == (201, ["read"])

    site.run(ask)


def test_metrics_name_tenants_to_the_operator_only(site: Site) -> None:
    site.catalog.experiments.create(
        Experiment(id="counted", tenant_id="acme", arms=(Arm(id="a"), Arm(id="b")))
    )
    site.catalog.experiments.move("acme", "counted", "start")
    site.services.door.selector.select("acme", "counted")
    named = 'loopwright_decisions_total{experiment="counted",tenant="acme"} 1.0'

    async def ask(client: httpx.AsyncClient) -> None:
        full = (await call(client, "GET /metrics", site.key("operator"), {})).text
        assert named in full
        for secret in (None, site.key("admin")):
            page = (await call(client, "GET /metrics", secret, {})).text
            assert "acme" not in page
            assert 'loopwright_decisions_total{experiment="all",tenant="all"}' in page
        wrong = await call(client, "GET /metrics", "lw_000000000000_guessed", {})
        assert wrong.status_code == 401

    site.run(ask)
