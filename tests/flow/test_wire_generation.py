"""Feedback about generated copy as the earlier rating service took it: with and without a prefix, statistics, export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from loopwright.core.feedback import Rating

from .conftest import Server
from .wire_client import facts_by_id, lost, read_back, variants

COPY: Final = {
    "headline": "Fresh",
    "body": "Two coffees for one.",
    "cta": "Come in",
    "tone": "warm",
}
RECORD: Final[dict[str, Any]] = {
    "offer_id": "O001",
    "customer_id": "C1",
    "generated_copy": COPY,
    "rating": 5,
    "thumbs": "up",
    "prompt_version": "v2",
    "model_version": "m1",
}
PREFIXES: Final = ("/api/v1", "")


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes feedback without a key for the default tenant."""
    folder = tmp_path_factory.mktemp("open")
    settings = folder / "loopwright.toml"
    settings.write_text('[loopwright]\nkeyless_feedback_tenant = "default"\n')
    running = Server(folder / "data", config=settings)
    yield running
    assert running.stop() == 0, running.said


@pytest.fixture(scope="module")
def keyless(open_: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_.url) as client:
        yield client


def test_statistics_of_an_empty_database_are_zeros(server: Server) -> None:
    for prefix in PREFIXES:
        found = server.http.get(f"{prefix}/feedback/stats", params={"since_days": 7}).json()
        zeros: dict[str, Any] = {name: {} if name.startswith("by_") else 0 for name in _STATS}
        assert {name: found[name] for name in _STATS} == zeros
        exported = server.http.get(f"{prefix}/feedback/export")
        assert (exported.status_code, exported.json()) == (200, [])


_STATS: Final = (
    "avg_rating", "thumbs_up_rate", "thumbs_down_rate", "record_count",
    "by_prompt_version", "by_model_version", "by_category",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_record_is_created_and_reads_back(open_: Server, prefix: str) -> None:
    for body in [
        {**RECORD, "offer_id": f"whole{prefix}"},
        {**RECORD, "offer_id": f"text{prefix}", "generated_copy": "Two coffees for one."},
        {**RECORD, "offer_id": f"other{prefix}", "generated_copy": {"subject": "a", "text": "b"}},
    ]:
        answer = open_.http.post(f"{prefix}/feedback", json=body)
        assert answer.status_code == 201, (body, answer.text)
        assert not lost(read_back(open_)[answer.json()["event_id"]], body)


def test_each_member_but_the_offer_may_be_left_out_or_null(open_: Server) -> None:
    for k, body in enumerate(variants(RECORD, needed=("offer_id",))):
        body = {**body, "offer_id": f"partial{k}"}
        answer = open_.http.post("/feedback", json=body)
        assert answer.status_code == 201, (body, answer.text)
        assert not lost(read_back(open_)[answer.json()["event_id"]], body)


@pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("thumbs", ["up", "down"])
def test_rating_and_thumbs_of_one_record_are_both_kept(
    open_: Server, rating: int, thumbs: str
) -> None:
    body = {**RECORD, "offer_id": f"both-{rating}-{thumbs}", "rating": rating, "thumbs": thumbs}
    id = open_.http.post("/feedback", json=body).json()["event_id"]
    assert facts_by_id(open_)[id].feedback == Rating(float(rating), "stars", 1.0, 5.0)
    assert not lost(read_back(open_)[id], body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rating": 6}, {"rating": 0}, {"rating": 2.5}, {"rating": "5"}, {"rating": True},
        {"thumbs": "sideways"}, {"thumbs": "UP"}, {"thumbs": 1}, {"generated_copy": 7},
        {"rating": None, "thumbs": None}, {"offer_id": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_out_of_range_is_refused(open_: Server, wrong: dict[str, Any], prefix: str) -> None:
    answer = open_.http.post(f"{prefix}/feedback", json={**RECORD, **wrong})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


def test_statistics_count_ratings_and_thumbs_each_in_their_own_figures(server: Server) -> None:
    for offer, rating, thumbs, prompt, model in (
        ("O1", 5, "up", "v1", "m1"),
        ("O2", 2, "down", "v2", "m1"),
        ("O3", 4, "up", "v2", "m2"),
        ("O4", None, "up", "v2", "m2"),
        ("O5", 1, None, "v2", "m2"),
    ):
        body = {**RECORD, "offer_id": offer, "rating": rating, "thumbs": thumbs}
        body |= {"prompt_version": prompt, "model_version": model}
        assert server.http.post("/feedback", json=body).status_code == 201
    for prefix in PREFIXES:
        found = server.http.get(f"{prefix}/feedback/stats", params={"since_days": 7}).json()
        assert found["record_count"] == 5
        assert found["avg_rating"] == 3.0
        assert (found["thumbs_up_rate"], found["thumbs_down_rate"]) == (0.75, 0.25)
        assert found["by_prompt_version"] == {"v1": 5.0, "v2": pytest.approx(7 / 3)}
        assert found["by_model_version"] == {"m1": 3.5, "m2": 2.5}
        assert isinstance(found["by_category"], dict)


def test_since_days_limits_the_statistics(server: Server) -> None:
    old = {**RECORD, "timestamp": "2020-01-01T00:00:00Z"}
    assert server.http.post("/feedback", json=old).status_code == 201
    found = server.http.get("/feedback/stats", params={"since_days": 7}).json()
    assert found["record_count"] == 0
    assert server.http.get("/feedback/stats", params={"since_days": 0}).status_code == 422


def test_the_export_is_a_list_of_the_records_as_they_were_sent(server: Server) -> None:
    bodies = [
        RECORD,
        {**RECORD, "offer_id": "O002", "generated_copy": "Two coffees", "thumbs": None},
        {"offer_id": "O003", "rating": 3},
    ]
    for body in bodies:
        assert server.http.post("/feedback", json=body).status_code == 201
    for prefix in PREFIXES:
        answer = server.http.get(f"{prefix}/feedback/export")
        assert answer.headers["content-type"].split(";")[0] == "application/json"
        found = answer.json()
        assert len(found) == len(bodies)
        for record, body in zip(found, bodies, strict=True):
            assert not lost(record, body)
            assert record["created_at"].endswith("Z")
            assert record["prompt_version"] == body.get("prompt_version", "")


def test_preferences_pair_the_same_input_only(server: Server) -> None:
    better, worse = {**COPY, "headline": "Warm"}, {**COPY, "headline": "Cold"}
    for offer, customer, copy, rating in (
        ("O1", "C1", better, 5),
        ("O1", "C1", worse, 1),
        ("O1", "C2", worse, 2),
        ("O2", "C1", worse, 1),
    ):
        body = {
            "offer_id": offer,
            "customer_id": customer,
            "generated_copy": copy,
            "rating": rating,
        }
        assert server.http.post("/feedback", json=body).status_code == 201
    for prefix in PREFIXES:
        answer = server.http.get(f"{prefix}/feedback/preferences")
        assert answer.status_code == 200, answer.text
        pairs = [json.loads(line) for line in answer.text.splitlines()]
        assert [sorted(pair) for pair in pairs] == [["chosen", "prompt", "rejected"]]
        assert pairs[0]["chosen"] == "Warm\nTwo coffees for one.\nCome in"
        assert pairs[0]["rejected"] == "Cold\nTwo coffees for one.\nCome in"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/feedback"), ("GET", "/feedback/stats"), ("GET", "/feedback/export")],
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_without_a_key_nothing_is_taken_unless_it_is_set(
    server: Server, method: str, path: str, prefix: str
) -> None:
    with httpx.Client(base_url=server.url) as client:
        answer = client.request(method, prefix + path, json=RECORD if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "key" in answer.json()["detail"]


def test_with_the_setting_a_client_without_a_key_works_at_the_paths_without_prefix(
    keyless: httpx.Client,
) -> None:
    body = {**RECORD, "offer_id": "keyless"}
    assert keyless.post("/feedback", json=body).status_code == 201
    assert keyless.post("/feedback", json={**body, "rating": 6}).status_code == 422
    assert keyless.get("/feedback/stats", params={"since_days": 7}).json()["record_count"] > 0
    assert any(r.get("offer_id") == "keyless" for r in keyless.get("/feedback/export").json())


def test_the_setting_opens_no_other_path(keyless: httpx.Client) -> None:
    assert keyless.post("/api/v1/feedback", json=RECORD).status_code == 401
    assert keyless.get("/api/v1/feedback/stats").status_code == 401
    assert keyless.get("/feedback/quality/default").status_code == 401
    assert keyless.post("/feedback/correction", json={}).status_code == 401


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_a_browser_that_was_led_here_is_not_taken_for_such_a_client(
    keyless: httpx.Client, headers: dict[str, str]
) -> None:
    assert keyless.get("/feedback/export", headers=headers).status_code == 401
    assert keyless.post("/feedback", json=RECORD, headers=headers).status_code == 401


def test_a_wrong_key_is_not_no_key(keyless: httpx.Client) -> None:
    answer = keyless.get("/feedback/stats", headers={"authorization": "Bearer lw_wrong"})
    assert answer.status_code == 401
