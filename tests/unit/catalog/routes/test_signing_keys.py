from __future__ import annotations

from tests.unit.catalog.routes.caller import Caller, code


def test_signing_keys_are_rotated_and_retired(admin: Caller) -> None:
    assert admin("GET", "/signing-keys").json() == {"ids": [1], "active": 1}
    assert admin("POST", "/signing-keys/rotate").json() == {"ids": [1, 2], "active": 2}
    assert code(admin("DELETE", "/signing-keys/2")) == (409, "conflict")
    assert admin("DELETE", "/signing-keys/1").json() == {"ids": [2], "active": 2}
    for unknown in ("1", "-1", "x", "9" * 5000):
        assert code(admin("DELETE", f"/signing-keys/{unknown}")) == (404, "not_found")


def test_only_an_admin_touches_the_ring(acme: Caller) -> None:
    for method, path in (("GET", ""), ("POST", "/rotate"), ("DELETE", "/1")):
        assert code(acme(method, f"/signing-keys{path}")) == (403, "forbidden")


def test_an_answer_never_holds_a_secret(admin: Caller) -> None:
    assert set(admin("POST", "/signing-keys/rotate").json()) == {"ids", "active"}
