from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from loopwright.cli.digits import Served, server
from loopwright.client import Client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("data"), port=0) as found:
        with Client(found.url, found.api_key) as client:
            client.experiments.create(
                "e", arms=["old", {"id": "new", "version": "v2"}], gate={"sticky": True}
            )
            client.versions.add("v1", kind="prompt", content="a")
            client.versions.add("v2", kind="prompt", content="b", parents=["v1"])
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {served.api_key}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers) as made:
        yield made


ROLLOUT = {"id": "r", "experiment_id": "e", "champion": "old", "challenger": "new"}


def test_a_rollout_is_begun_reported_held_and_cancelled(http: httpx.Client) -> None:
    begun = http.post("/rollouts", json=ROLLOUT)
    assert begun.status_code == 201, begun.text
    assert begun.json()["state"] == "running"
    report = http.get("/rollouts/r").json()
    assert report["verdict"]["outcome"] == "wait"
    assert report["next"].startswith("It goes on to ab once the gate passes")
    held = http.post("/rollouts/r/hold", json={"reason": "a holiday"})
    assert (held.status_code, held.json()["state"]) == (200, "held")
    assert http.post("/rollouts/r/approve", json={}).status_code == 409
    assert http.post("/rollouts", json=ROLLOUT).json()["code"] == "conflict"
    assert http.post("/rollouts/r/cancel", json={}).json()["state"] == "cancelled"
    assert [r["id"] for r in http.get("/rollouts?experiment_id=e").json()["items"]] == ["r"]


def test_an_order_that_there_is_not_is_not_found(http: httpx.Client) -> None:
    answer = http.post("/rollouts/r/explode", json={})
    assert answer.status_code == 404
    assert "it takes hold, resume, approve, roll_back, cancel" in answer.json()["detail"]


def test_versions_are_listed_compared_and_traced(http: httpx.Client) -> None:
    assert {v["id"] for v in http.get("/versions?kind=prompt").json()["items"]} == {"v1", "v2"}
    assert http.get("/versions/v1/diff/v2").json()["lines"][-2:] == ["-a", "+b"]
    links = http.get("/versions/v1/lineage").json()["links"]
    assert [(link["id"], link["arms"]) for link in links] == [("v1", []), ("v2", ["e/new"])]
    assert http.get("/versions/v2").json()["parents"] == ["v1"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/versions", {"id": "x", "kind": "poem", "content": "y"}, 422),
        ("/versions", {"id": "x", "kind": "prompt"}, 422),
        ("/versions", {"id": "v1", "kind": "prompt", "content": "other"}, 409),
        ("/rollouts", ROLLOUT | {"id": "q", "experiment_id": "nope"}, 404),
        ("/rollouts", ROLLOUT | {"id": "q", "stages": []}, 422),
        ("/rollouts", ROLLOUT | {"id": "q", "surprise": 1}, 422),
        ("/rollouts/nope/hold", {}, 404),
    ],
    ids=[
        "kind",
        "no content",
        "other content",
        "experiment",
        "stages",
        "unknown member",
        "unknown",
    ],
)
def test_what_is_wrong_is_told_by_its_code(
    http: httpx.Client, path: str, body: dict[str, object], status: int
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_viewer_reads_and_moves_nothing(served: Served, http: httpx.Client) -> None:
    secret = http.post("/keys", json={"name": "v", "scopes": ["read"]}).json()["secret"]
    viewer = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=viewer) as limited:
        assert limited.get("/rollouts").status_code == 200
        assert limited.post("/rollouts", json=ROLLOUT | {"id": "z"}).status_code == 403
        assert limited.post("/rollouts/r/roll_back", json={}).status_code == 403


HOURLY = {"id": "t", "condition": {"kind": "schedule", "every_s": 3600}}


def test_a_trigger_is_added_shown_and_removed(http: httpx.Client) -> None:
    made = http.post("/triggers", json=HOURLY | {"actions": [{"kind": "github"}]})
    assert made.status_code == 201, made.text
    assert made.json()["condition"] == {"kind": "schedule", "every_s": 3600}
    assert http.post("/triggers", json=HOURLY).json()["code"] == "conflict"
    assert http.get("/triggers/t").json()["judged"]["standing"] == "good"
    assert http.get("/triggers").json()["items"][0]["id"] == "t"
    assert http.post("/triggers/t/disable").json()["is_enabled"] is False
    assert http.post("/triggers/t/enable").json()["is_enabled"] is True
    assert http.get("/triggers/t/secret").json()["secret"].startswith("whsec_")
    assert http.get("/firings?trigger_id=t").json() == {"items": []}
    assert http.get("/deliveries?state=dead").json() == {"items": []}
    assert http.get("/deliveries?state=lost").status_code == 422
    assert http.post("/deliveries/nope/again").status_code == 404
    assert http.delete("/triggers/t").json()["id"] == "t"
    assert http.get("/triggers/t").status_code == 404


def test_who_may_only_read_sees_firings_and_no_address(served: Served, http: httpx.Client) -> None:
    secret = http.post("/keys", json={"name": "v2", "scopes": ["read"]}).json()["secret"]
    viewer = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=viewer) as limited:
        assert limited.get("/firings").status_code == 200
        for path in ("/triggers", "/triggers/t", "/triggers/t/secret", "/deliveries"):
            assert limited.get(path).status_code == 403
