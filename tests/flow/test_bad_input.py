from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Server

SELECT, FEEDBACK, BATCH = "/agent/select", "/agent/feedback", "/agent/feedback/batch"


def post(server: Server, path: str, content: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = server.post(path, content=content, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", [SELECT, FEEDBACK, BATCH])
@pytest.mark.parametrize("content", [b"", b"{", b"nonsense", b"\xff\xfe", b"NaN", b"\x00"])
def test_malformed_json_is_said_to_be_so(shared: Server, path: str, content: bytes) -> None:
    status, problem = post(shared, path, content)
    assert (status, problem["code"]) == (400, "body_malformed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SELECT, {}),
        (SELECT, []),
        (SELECT, {"experiment_id": 7}),
        (SELECT, {"experiment_id": "greeting", "surprise": 1}),
        (SELECT, {"experiment_id": "greeting", "context": {"vectr": []}}),
        (SELECT, {"experiment_id": "greeting", "context": {"vector": ["1"]}}),
        (SELECT, {"experiment_id": "greeting", "context": {"vector": "abc"}}),
        (SELECT, {"experiment_id": "greeting", "unit_id": ""}),
        (FEEDBACK, {"request_id": "x" * 64}),
        (FEEDBACK, {"request_id": "x" * 64, "reward": "1"}),
        (FEEDBACK, {"request_id": "x" * 64, "reward": True}),
        (FEEDBACK, {"request_id": "x" * 64, "reward": None}),
        (FEEDBACK, {"request_id": 5, "reward": 1}),
        (BATCH, {"items": []}),
        (BATCH, {"items": [{"request_id": "x" * 64, "reward": 1}] * 1001}),
        (BATCH, {"items": {}}),
    ],
)
def test_wrong_shapes_name_the_place(shared: Server, path: str, body: Any) -> None:
    status, problem = post(shared, path, json.dumps(body).encode())
    assert (status, problem["code"]) == (422, "invalid")
    words = ("expected", "unknown field", "missing required field")
    assert any(word in problem["detail"].lower() for word in words)


def test_a_vector_must_fit_the_experiment(shared: Server) -> None:
    for vector in ([], [1.0], [1e308, 1, 1], [0.5] * 10_000):
        asked = {"experiment_id": "routing", "context": {"vector": vector}}
        status, problem = post(shared, SELECT, json.dumps(asked).encode())
        assert (status, problem["code"]) == (422, "context_invalid")
    # 1e999 is valid JSON; no float64 holds it.
    body = b'{"experiment_id":"routing","context":{"vector":[1e999,0,0]}}'
    status, problem = post(shared, SELECT, body)
    assert status in (400, 422)


@pytest.mark.parametrize(
    ("experiment", "status", "code"),
    [
        ("nope", 404, "not_found"),
        ("over", 409, "experiment_closed"),
        ("resting", 409, "experiment_closed"),
    ],
)
def test_an_experiment_that_does_not_serve_says_why(
    shared: Server, experiment: str, status: int, code: str
) -> None:
    found, problem = post(shared, SELECT, json.dumps({"experiment_id": experiment}).encode())
    assert (found, problem["code"]) == (status, code)


@pytest.mark.parametrize(("mask", "code"), [([], "mask_empty"), (["zz"], "invalid")])
def test_a_mask_must_leave_an_arm(shared: Server, mask: list[str], code: str) -> None:
    body = {"experiment_id": "greeting", "mask": mask}
    status, problem = post(shared, SELECT, json.dumps(body).encode())
    assert (status, problem["code"]) == (422, code)


@pytest.mark.parametrize("reward", [-1, 2, 0.5, 1e300])
def test_a_binary_reward_is_zero_or_one(shared: Server, reward: float) -> None:
    token = shared.select("greeting")["request_id"]
    body = json.dumps({"request_id": token, "reward": reward}).encode()
    status, problem = post(shared, FEEDBACK, body)
    assert (status, problem["code"]) == (422, "reward_invalid")


def test_a_reward_outside_the_declared_range_is_refused(shared: Server) -> None:
    token = shared.select("bounded")["request_id"]
    status, problem = post(
        shared, FEEDBACK, json.dumps({"request_id": token, "reward": 10.5}).encode()
    )
    assert (status, problem["code"]) == (422, "reward_invalid")
    assert problem["expected"] == [0.0, 10.0]


def test_each_wrong_token_has_its_own_code(shared: Server) -> None:
    token = shared.select("greeting")["request_id"]
    flipped = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    codes = {}
    for name, request_id in {
        "cut": token[:-7],
        "grown": token + "AAAA",
        "flipped": flipped,
        "noise": "!" * 80,
        "short": "abc",
    }.items():
        body = json.dumps({"request_id": request_id, "reward": 1}).encode()
        status, problem = post(shared, FEEDBACK, body)
        codes[name] = (status, problem["code"])
    assert codes["flipped"] == codes["grown"] == (403, "token_forged")
    assert codes["noise"] == codes["short"] == (400, "token_malformed")
    assert codes["cut"] in {(400, "token_malformed"), (403, "token_forged")}


def test_a_token_of_another_tenant_is_refused(shared: Server) -> None:
    shared.post("/tenants", {"id": "rival"}).raise_for_status()
    issued = shared.post("/keys?tenant_id=rival", {"scopes": ["select", "feedback"]})
    key = issued.json()["secret"]
    token = shared.select("greeting")["request_id"]
    headers = {"authorization": f"Bearer {key}"}
    body = {"request_id": token, "reward": 1}
    refused = shared.post(FEEDBACK, body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "token_foreign")
    hidden = shared.post(SELECT, {"experiment_id": "greeting"}, headers=headers)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
    unreadable = shared.get("/experiments", headers=headers)
    assert (unreadable.status_code, unreadable.json()["code"]) == (403, "forbidden")


def test_a_body_beyond_the_limit_is_not_read(shared: Server) -> None:
    status, problem = post(shared, SELECT, b"x" * 10_000_000)
    assert (status, problem["code"]) == (413, "body_too_large")

    def chunks() -> Any:
        for _ in range(200):
            yield b"x" * 10_000

    answer = shared.http.post(f"/api/v1{SELECT}", content=chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
def test_only_json_is_taken(shared: Server, kind: str) -> None:
    status, problem = post(shared, SELECT, b"{}", **{"content-type": kind})
    assert (status, problem["code"]) == (415, "wrong_media_type")


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer lw_nope_nope", "Bearer ü"])
def test_a_wrong_key_gets_nowhere(shared: Server, header: str) -> None:
    answer = shared.post(SELECT, content=b"{}", headers={"authorization": header.encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_client_that_leaves_mid_body_harms_nobody(shared: Server) -> None:
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /api/v1/agent/select HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n"
            b"authorization: Bearer " + shared.key.encode() + b'\r\n\r\n{"experiment'
        )
    assert shared.select("greeting")["arm"]["id"] in {"a", "b"}
    assert shared.http.get("/health/ready").status_code == 200
