from __future__ import annotations

import json
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
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=30) as made:
        yield made


def test_a_set_is_built_listed_exported_verified_compared_and_expired(http: httpx.Client) -> None:
    said = {"kind": "rating", "scale": "stars", "query": "How?", "user_id": "ada"}
    for n, (text, stars) in enumerate([("This way.", 5), ("No idea.", 1)]):
        item = said | {"response": text, "value": stars, "output_id": f"o{n}"}
        assert http.post("/feedback", json=item).status_code == 201
    recipe = {"name": "answers", "splits": {"train": 1.0}}
    built = http.post("/datasets", json=recipe)
    assert built.status_code == 201, built.text
    id = built.json()["id"]
    assert [d["id"] for d in http.get("/datasets?name=answers").json()["items"]] == [id]
    rows = http.get(f"/datasets/{id[:9]}/rows?format=simple")
    assert rows.headers["content-type"].startswith("application/x-ndjson")
    expected = {"prompt": "How?", "chosen": "This way.", "rejected": "No idea."}
    assert [json.loads(line) for line in rows.text.splitlines()] == [expected]
    parquet = http.get(f"/datasets/{id}/rows?format=parquet")
    assert parquet.content[:4] == b"PAR1"
    assert http.post(f"/datasets/{id}/verify").json()["is_equal"]
    assert http.get(f"/datasets/{id}/diff/{id}").json()["common"] == 1
    assert http.get(f"/datasets/{id}").json()["recipe"]["margin"] == 0.5
    assert http.delete(f"/datasets/{id}").json()["expired_at_ms"] is not None
    assert http.get(f"/datasets/{id}/rows").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/datasets", {"name": "a b"}, 422),
        ("POST", "/datasets", {"name": "p", "tasks": ["nobody does this"]}, 422),
        ("POST", "/datasets", {"name": "p", "surprise": 1}, 422),
        ("GET", "/datasets/abc", None, 404),
        ("GET", "/datasets/abc/rows?format=xml", None, 422),
        ("POST", "/datasets/abc/verify", None, 404),
        ("DELETE", "/datasets/abc", None, 404),
    ],
    ids=["name", "empty", "unknown member", "unknown", "format", "verify", "expire"],
)
def test_what_is_wrong_is_told_by_its_code(
    http: httpx.Client, method: str, path: str, body: object, status: int
) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
