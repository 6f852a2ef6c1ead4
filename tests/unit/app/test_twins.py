"""The documented twins of the hot endpoints."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from .test_http import serving

PATHS = ["/api/v1/agent/select", "/api/v1/agent/feedback", "/api/v1/agent/feedback/batch"]


@pytest.mark.parametrize("path", PATHS)
def test_a_twin_answers_a_faulty_body_like_the_front(tmp_path: Path, path: str) -> None:
    async def both() -> list[httpx.Response]:
        async with serving(tmp_path) as client:
            head = {"content-type": "application/json"}
            front = await client.post(path, content=b'{"no', headers=head)
            # The front knows the path to the letter; the framework forgives a slash at its end.
            twin = await client.post(f"{path}/", content=b'{"no', headers=head)
            return [front, twin]

    front, twin = asyncio.run(both())
    assert (front.status_code, front.content) == (twin.status_code, twin.content)
    assert front.json()["code"] == "body_malformed"


@pytest.mark.parametrize("path", PATHS)
def test_a_twin_judges_the_query_before_the_key(tmp_path: Path, path: str) -> None:
    async def ask() -> httpx.Response:
        async with serving(tmp_path) as client:
            return await client.post(f"{path}?x=1", json={}, headers={"authorization": ""})

    assert asyncio.run(ask()).status_code == 422
