"""The application behind the front: how it describes itself, and how it reports errors."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    services = Services(load_settings(data_dir=folder, body_limit_bytes=1024))
    key = (folder / "admin.key").read_text().strip()
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application(services, asyncio.get_running_loop())),
            base_url="http://loop",
            headers={"authorization": f"Bearer {key}"},
        ) as client:
            yield client
    finally:
        await asyncio.to_thread(services.close)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[Ask], Any]:
    async def run(ask: Ask) -> Any:
        async with serving(tmp_path) as client:
            return await ask(client)

    return lambda ask: asyncio.run(run(ask))


async def described(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.get("/docs/openapi.json")).json())


def test_the_description_names_the_bodies_of_the_hot_endpoints(asked: Callable[[Ask], Any]) -> None:
    document = asked(described)
    bodies = {
        path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for path in (
            "/api/v1/agent/select",
            "/api/v1/agent/feedback",
            "/api/v1/agent/feedback/batch",
        )
    }
    names = [body["schema"]["$ref"].rpartition("/")[2] for body in bodies.values()]
    assert names == ["SelectRequest", "FeedbackRequest", "BatchRequest"]
    assert set(names) <= document["components"]["schemas"].keys()


def test_a_route_that_is_not_there_is_a_problem_document(asked: Callable[[Ask], Any]) -> None:
    answer = asked(lambda client: client.get("/api/v1/nothing"))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "/docs" in answer.json()["detail"]


def test_a_method_that_a_route_does_not_have_is_a_problem_document(
    asked: Callable[[Ask], Any],
) -> None:
    answer = asked(lambda client: client.put("/api/v1/experiments", json={}))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/api/v1/agent/select", "/api/v1/experiments"])
def test_a_query_parameter_that_no_route_has_is_refused_by_every_route(
    asked: Callable[[Ask], Any], path: str
) -> None:
    answer = asked(lambda client: client.post(f"{path}?limits=5", json={}))
    assert answer.status_code == 422
    assert "there is no query parameter 'limits' here" in answer.json()["detail"]


def test_a_body_beyond_the_limit_is_refused(asked: Callable[[Ask], Any]) -> None:
    answer = asked(lambda client: client.post("/api/v1/experiments", json={"id": "x" * 2000}))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_nested_without_end_is_refused(tmp_path: Path) -> None:
    async def nested(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(
            "/api/v1/experiments",
            content="[" * 400 + "]" * 400,
            headers={"content-type": "application/json"},
        )

    async def run() -> httpx.Response:
        async with serving(tmp_path) as client:
            return await nested(client)

    assert asyncio.run(run()).status_code in (400, 422)


def test_metrics_need_no_key(asked: Callable[[Ask], Any]) -> None:
    answer = asked(lambda client: client.get("/metrics", headers={"authorization": ""}))
    assert answer.status_code == 200
    assert "loopwright_log_head_offset" in answer.text


PYTHON = re.compile(
    r"`[^`]*\b(?:str|int|float|bool|dict|list|NoneType|tuple)\b[^`]*`|\b(?:Traceback|codec|Error\b)|\bdata:"
)
ODD: list[Any] = [None, 5, "x", [], {}, True, -1, [None], {"a": None}]
UNREADABLE = [b"", b"{", b'{"a":"\xff"}', b"[" * 2000, b'{"a":1e999}', b'"\\ud800"']


def test_no_route_answers_a_faulty_body_with_words_of_python_or_of_the_framework(
    asked: Callable[[Ask], Any],
) -> None:
    async def ask(client: httpx.AsyncClient) -> list[str]:
        document = await described(client)
        schemas = document["components"]["schemas"]
        odd = []
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "requestBody" not in operation:
                    continue
                found = re.search(r'schemas/(\w+)"', json.dumps(operation["requestBody"]))
                members = schemas[found[1]].get("properties", ()) if found else ()
                bodies = [json.dumps({name: value}) for name in members for value in ODD]
                bodies += [json.dumps(value) for value in ODD]
                for content in [*map(str.encode, bodies), *UNREADABLE]:
                    answer = await client.request(
                        method.upper(),
                        re.sub(r"{\w+}", "default", path),
                        content=content,
                        headers={"content-type": "application/json"},
                    )
                    odd += faults_of(answer, f"{method} {path} {content[:60]!r}")
        return odd

    assert asked(ask) == []


def test_no_route_answers_a_faulty_parameter_with_words_of_python_or_of_the_framework(
    asked: Callable[[Ask], Any],
) -> None:
    async def ask(client: httpx.AsyncClient) -> list[str]:
        document = await described(client)
        odd = []
        for path, methods in document["paths"].items():
            for parameter in methods.get("get", {}).get("parameters", ()):
                for value in ("½", "-1") if "integer" in str(parameter["schema"]) else ("½",):
                    if parameter["in"] == "query":
                        url = re.sub(r"{\w+}", "default", path)
                        answer = await client.get(url, params={parameter["name"]: value})
                        odd += faults_of(answer, f"{path} {parameter['name']}={value}")
        return odd

    assert asked(ask) == []


def faults_of(answer: httpx.Response, asked: str) -> list[str]:
    if answer.status_code < 400:
        return []
    if not answer.headers["content-type"].startswith("application/problem+json"):
        return [f"{asked}: {answer.text}"]
    detail = answer.json()["detail"]
    is_odd = answer.status_code >= 500 or PYTHON.search(detail)
    return [f"{asked}: {answer.status_code} {detail}"] if is_odd else []
