from __future__ import annotations

from tests.unit.catalog.routes.caller import Caller, Client, code

from loopwright.catalog import Catalog
from loopwright.testing import ManualClock


def test_a_key_is_made_rotated_and_revoked(
    client: Client, acme: Caller, clock: ManualClock
) -> None:
    def try_with(secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        return client.get("/api/v1/experiments", headers=headers).status_code

    made = acme("POST", "/keys", {"scopes": ["read"], "name": "board"})
    assert made.status_code == 201
    key, secret = made.json()["key"], made.json()["secret"]
    assert try_with(secret) == 200
    rotated = acme("POST", f"/keys/{key['id']}/rotate", {"grace_s": 60}).json()["secret"]
    assert (try_with(secret), try_with(rotated)) == (200, 200)
    clock.advance(seconds=60)
    assert (try_with(secret), try_with(rotated)) == (401, 200)
    bare = acme("POST", f"/keys/{key['id']}/rotate")
    assert (bare.status_code, try_with(rotated)) == (200, 401)
    assert acme("POST", f"/keys/{key['id']}/revoke").json()["revoked_at_ms"] == clock.now_ms()
    assert try_with(bare.json()["secret"]) == 401
    listed = acme("GET", "/keys")
    assert {item["name"] for item in listed.json()["items"]} == {"", "board"}
    assert secret.removeprefix(key["prefix"]) not in listed.text
    assert "secret" not in listed.text


def test_nobody_grants_or_renews_more_than_they_have(
    acme: Caller, admin: Caller, client: Client, catalog: Catalog
) -> None:
    assert code(acme("POST", "/keys", {"scopes": ["select"]})) == (403, "forbidden")
    assert code(acme("POST", "/keys", {"scopes": ["admin"]})) == (403, "forbidden")
    stronger = Caller(client, catalog, "acme", "admin").issued.key.id
    assert code(acme("POST", f"/keys/{stronger}/rotate")) == (403, "forbidden")
    assert code(acme("POST", f"/keys/{stronger}/revoke")) == (403, "forbidden")
    granted = admin("POST", "/keys?tenant_id=acme", {"scopes": ["select", "feedback"]})
    assert granted.json()["key"]["tenant_id"] == "acme"


def test_a_key_that_is_not_there_cannot_be_read_rotated_or_revoked(acme: Caller) -> None:
    for method, path in (("GET", ""), ("POST", "/rotate"), ("POST", "/revoke")):
        assert code(acme(method, f"/keys/nothing{path}")) == (404, "not_found")


def test_a_revoked_key_stays_in_the_list_and_gets_no_new_secret(acme: Caller) -> None:
    id = acme("POST", "/keys", {"scopes": ["read"]}).json()["key"]["id"]
    assert acme("POST", f"/keys/{id}/revoke").status_code == 200
    assert id in [key["id"] for key in acme("GET", "/keys").json()["items"]]
    assert code(acme("POST", f"/keys/{id}/rotate")) == (409, "conflict")
    assert acme("GET", f"/keys/{id}").json()["revoked_at_ms"] > 0
