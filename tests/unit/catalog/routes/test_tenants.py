from __future__ import annotations

from tests.unit.catalog.routes.caller import Caller, code


def test_an_admin_makes_tenants_and_sees_them_all(admin: Caller) -> None:
    assert admin("POST", "/tenants", {"id": "initech", "name": "Initech"}).status_code == 201
    assert code(admin("POST", "/tenants", {"id": "initech"})) == (409, "conflict")
    ids = [tenant["id"] for tenant in admin("GET", "/tenants").json()["items"]]
    assert ids == ["acme", "default", "globex", "initech"]
    assert admin("GET", "/tenants/initech").json()["name"] == "Initech"


def test_others_see_their_own_tenant_and_make_none(acme: Caller) -> None:
    assert [tenant["id"] for tenant in acme("GET", "/tenants").json()["items"]] == ["acme"]
    assert acme("GET", "/tenants/acme").json()["id"] == "acme"
    assert code(acme("GET", "/tenants/globex")) == (404, "not_found")
    assert code(acme("POST", "/tenants", {"id": "mine"})) == (403, "forbidden")


def test_a_tenant_needs_a_slug_and_nothing_else_than_its_name(admin: Caller) -> None:
    for body in ({"id": "a/b"}, {"id": ""}, {}, {"id": "x", "plan": "gold"}):
        assert admin("POST", "/tenants", body).status_code in (400, 422), body
    ids = [tenant["id"] for tenant in admin("GET", "/tenants").json()["items"]]
    assert ids == ["acme", "default", "globex"]


def test_quotas_are_set_whole_and_seen_by_the_tenant(admin: Caller, acme: Caller) -> None:
    path = "/tenants/acme/quotas"
    made = admin("PUT", path, {"events_per_day": 10, "experiments": 2})
    assert (made.status_code, made.json()["quotas"]["events_per_day"]) == (200, 10)
    used = acme("GET", "/tenants/acme/usage").json()
    assert used["events_per_day"] | {"resets_at_ms": 0} == {
        "used": 0,
        "limit": 10,
        "resets_at_ms": 0,
    }
    assert used["experiments"] == {"used": 1, "limit": 2, "resets_at_ms": None}
    assert used["stored_bytes"] == {"used": 99, "limit": None, "resets_at_ms": None}
    assert admin("PUT", path, {}).json()["quotas"]["experiments"] is None
    assert code(acme("PUT", path, {})) == (403, "forbidden")
    assert code(acme("GET", "/tenants/globex/usage")) == (404, "not_found")
    assert code(admin("PUT", "/tenants/nowhere/quotas", {})) == (404, "not_found")
    for bad in ({"events_per_day": -1}, {"events": 1}, {"events_per_day": 1.5}):
        assert admin("PUT", path, bad).status_code in (400, 422)
