from __future__ import annotations

from typing import Any

import pytest
from tests.unit.catalog.routes.caller import GREETING, Caller, code

from loopwright.catalog import Catalog


def test_an_experiment_lives_from_draft_to_end(acme: Caller) -> None:
    made = acme("POST", "/experiments", GREETING)
    assert made.status_code == 201
    assert (made.headers["etag"], made.json()["state"]) == ('"1"', "draft")
    assert made.json()["arms"][0]["payload"] == {"text": "Good morning."}
    seen = []
    for move in ("start", "pause", "resume", "end"):
        answer = acme("POST", f"/experiments/greeting/{move}")
        seen.append((answer.status_code, answer.json()["state"], answer.headers["etag"]))
    assert seen == [
        (200, "running", '"2"'),
        (200, "paused", '"3"'),
        (200, "running", '"4"'),
        (200, "ended", '"5"'),
    ]
    assert code(acme("POST", "/experiments/greeting/start")) == (409, "conflict")


def test_arms_are_added_and_changed_while_it_runs(acme: Caller) -> None:
    acme("POST", "/experiments", GREETING)
    acme("POST", "/experiments/greeting/start")
    added = acme("POST", "/experiments/greeting/arms", {"id": "playful", "payload": None})
    assert (added.status_code, added.json()["arms"][2]["id"]) == (201, "playful")
    changed = acme("PATCH", "/experiments/greeting/arms/casual", {"state": "disabled"})
    assert changed.json()["arms"][1]["state"] == "disabled"
    shared = acme("PATCH", "/experiments/greeting", {"arms": {"formal": {"min_share": 0.3}}})
    assert shared.json()["arms"][0]["min_share"] == 0.3
    assert code(acme("POST", "/experiments/greeting/arms", {"id": "casual"})) == (409, "conflict")
    assert code(acme("PATCH", "/experiments/greeting/arms/nope", {})) == (404, "not_found")
    frozen = acme("PATCH", "/experiments/greeting", {"policy": {"name": "Uniform"}})
    assert code(frozen) == (409, "conflict")
    assert "make a new experiment" in frozen.json()["detail"]


def test_what_does_not_fit_is_a_problem_document_with_found_and_expected(acme: Caller) -> None:
    answer = acme(
        "POST",
        "/experiments",
        {**GREETING, "policy": {"name": "BetaThompson"}, "reward": {"type": "continuous"}},
    )
    assert code(answer) == (422, "policy_mismatch")
    assert answer.json()["found"] == "continuous"
    doubled = {**GREETING, "arms": [{"id": "a"}, {"id": "a"}]}
    assert code(acme("POST", "/experiments", doubled)) == (422, "invalid")
    assert code(acme("POST", "/experiments", {**GREETING, "arms": []})) == (422, "invalid")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/experiments", {**GREETING, "colour": "red"}),
        ("/experiments", {**GREETING, "id": "a/b"}),
        ("/experiments", {**GREETING, "reward": {"type": "binary", "low": 3}}),
        ("/experiments", {"id": "greeting"}),
        ("/experiments", []),
        ("/keys", {"scopes": ["fly"]}),
        ("/keys", {"scopes": ["read"], "secret": "mine"}),
        ("/keys", {"scopes": ["read"], "expires_at_ms": 10**300}),
    ],
)
def test_unknown_fields_and_wrong_types_are_refused_before_anything_happens(
    acme: Caller, catalog: Catalog, path: str, body: Any
) -> None:
    assert acme("POST", path, body).status_code in (400, 422)
    assert catalog.experiments.all("acme") == []


def test_a_stale_if_match_or_revision_is_refused(acme: Caller) -> None:
    acme("POST", "/experiments", GREETING)
    first = acme("PATCH", "/experiments/greeting", {"name": "mine"}, If_Match='"1"')
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    late = acme("PATCH", "/experiments/greeting", {"name": "yours"}, If_Match='"1"')
    assert code(late) == (409, "stale_version")
    assert (late.json()["found"], late.json()["expected"]) == (2, 1)
    assert code(acme("POST", "/experiments/greeting/start?revision=1")) == (409, "stale_version")
    assert acme("POST", "/experiments/greeting/start?revision=2").status_code == 200
    assert acme("PATCH", "/experiments/greeting", {"name": "any"}, If_Match="*").status_code == 200


@pytest.mark.parametrize("tag", ["three", '"-1"', '"1", "2"', '"9999999999999999999"'])
def test_an_if_match_that_is_no_revision_is_refused(acme: Caller, tag: str) -> None:
    acme("POST", "/experiments", GREETING)
    answer = acme("PATCH", "/experiments/greeting", {"name": "x"}, If_Match=tag)
    assert code(answer) == (422, "invalid")


def test_if_match_and_revision_must_agree(acme: Caller) -> None:
    acme("POST", "/experiments", GREETING)
    answer = acme("PATCH", "/experiments/greeting?revision=2", {"name": "x"}, If_Match='"1"')
    assert code(answer) == (422, "invalid")


def test_a_list_is_read_in_pages(acme: Caller) -> None:
    for name in "edcba":
        acme("POST", "/experiments", {**GREETING, "id": name})
    seen: list[list[str]] = []
    path = "/experiments?limit=2"
    while len(seen) < 4:
        page = acme("GET", path).json()
        seen.append([item["id"] for item in page["items"]])
        if page["next_cursor"] is None:
            break
        path = f"/experiments?limit=2&cursor={page['next_cursor']}"
    assert seen == [["a", "b"], ["c", "d"], ["e"]]
    assert acme("GET", "/experiments?limit=0").status_code == 400


def test_an_admin_acts_for_any_tenant_by_name(admin: Caller, acme: Caller) -> None:
    made = admin("POST", "/experiments?tenant_id=acme", GREETING)
    assert (made.status_code, made.json()["tenant_id"]) == (201, "acme")
    assert acme("GET", "/experiments/greeting").json() == made.json()
    assert code(admin("GET", "/experiments?tenant_id=nobody")) == (404, "not_found")
