from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from loopwright.cli.digits import Served, server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("data"), port=0) as found:
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {served.api_key}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers) as made:
        yield made


def test_a_limit_is_set_asked_reported_to_and_deleted(http: httpx.Client) -> None:
    made = http.put("/limits/chat", json={"prior": 1, "burst": 2})
    assert made.status_code == 200, made.text
    assert made.json()["limit"]["least"] == 0.1
    first = http.post("/limits/chat/acquire", json={"key": "ada"})
    assert first.json()["allowed"]
    assert first.headers["ratelimit"] == '"chat";r=1;t=1'
    assert first.headers["ratelimit-policy"] == '"chat";q=2;w=2'
    assert "retry-after" not in first.headers
    http.post("/limits/chat/acquire", json={"key": "ada"})
    denied = http.post("/limits/chat/acquire", json={"key": "ada"})
    assert (denied.status_code, denied.json()["allowed"]) == (200, False)
    assert denied.headers["retry-after"] == "1"
    assert http.post("/limits/chat/load", json={"overloaded": 0.5}).status_code == 204
    assert [each["limit"]["id"] for each in http.get("/limits").json()["items"]] == ["chat"]
    assert http.delete("/limits/chat").status_code == 204
    assert http.get("/limits/chat").status_code == 404


def test_the_metrics_of_the_rating_loop_are_served_under_their_names(
    served: Served, http: httpx.Client
) -> None:
    http.put("/limits/shown", json={"prior": 8, "most": 20})
    http.post("/limits/shown/acquire", json={})
    rating = {
        "event_id": "11111111-1111-4111-8111-111111111111",
        "user_id": "u",
        "session_id": "s",
        "timestamp": "2026-11-27T10:00:00Z",
        "rating": 4,
    }
    assert http.post("/ratings", json=rating).status_code == 201
    assert http.post("/ratings", json=rating | {"rating": 9}).status_code == 422
    text = httpx.get(f"{served.url}/metrics", headers=http.headers).text
    assert 'rating_events_total{result="accepted"} 1.0' in text
    assert 'rating_events_total{result="error"} 1.0' in text
    assert 'token_bucket_refill_rate{bucket="shown",tenant="default"} 8.0' in text
    assert 'token_bucket_capacity_rate{bucket="shown",tenant="default"} 20.0' in text
    assert 'decision="admitted"' in text
    assert 'rl_policy_update_latency_seconds_bucket{le="0.2"}' in text


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/limits/nope/acquire", {}, 404),
        ("/limits/nope/load", {"overloaded": 0}, 404),
        ("/limits/chat/acquire", {"cost": 0}, 422),
        ("/limits/chat/acquire", {"surprise": 1}, 422),
        ("/limits/chat/load", {"overloaded": 2}, 422),
    ],
    ids=["unknown", "load of unknown", "no cost", "unknown member", "too much"],
)
def test_what_is_wrong_is_told_by_its_code(
    http: httpx.Client, path: str, body: dict[str, object], status: int
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text


def test_an_id_that_is_no_id_is_refused(http: httpx.Client) -> None:
    answer = http.put("/limits/a%20b", json={"prior": 1})
    assert answer.status_code == 422
    assert "cannot name a limit" in answer.json()["detail"]
