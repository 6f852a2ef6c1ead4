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
