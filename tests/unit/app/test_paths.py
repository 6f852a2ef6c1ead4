"""Ids in paths: no two ids are one, on any route."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from loopwright.app.paths import spelt
from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.errors import Invalid, NotFound

ODD = ["corp/jane", "walter/", "/walter", "a//b", "%2F", "100%", "ä ö", "a?b#c", "..", "."]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/people/corp%2Fjane/erase", "/people/corp%2Fjane/erase"),
        (b"/people/corp%2fjane", "/people/corp%2Fjane"),
        (b"/%70eople/walter%252F", "/people/walter%252F"),
        (b"/people/\xc3\xa4", "/people/%C3%A4"),
        (b"/export/", "/export/"),
        (b"/a@b.de:c", "/a@b.de:c"),
    ],
)
def test_a_path_keeps_its_segments_and_spells_each_in_one_way(raw: bytes, expected: str) -> None:
    assert spelt(raw) == expected


def test_an_empty_segment_names_nothing() -> None:
    with pytest.raises(NotFound, match="empty segment"):
        spelt(b"/people/walter//erase")


def test_bytes_that_are_not_utf_8_become_no_id() -> None:
    with pytest.raises(Invalid, match="UTF-8"):
        spelt(b"/people/%FF/erase")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    services = Services(load_settings(data_dir=folder, raw_copies=True))
    services.start()
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


def escaped(id: str) -> str:
    return quote(id, safe="").replace(".", "%2E")


def test_every_route_with_an_id_in_its_path_takes_every_id_as_it_is(tmp_path: Path) -> None:
    async def ask() -> list[tuple[str, str]]:
        async with serving(tmp_path) as client:
            document: dict[str, Any] = (await client.get("/docs/openapi.json")).json()
            failed = []
            routes = [
                (path, method)
                for path, methods in document["paths"].items()
                for method in methods
                if "{" in path
            ]
            assert len(routes) > 20
            for path, method in routes:
                for id in ODD:
                    url = escaped(id).join(re.split(r"{\w+}", path))
                    content = b"{}" if method in ("post", "patch") else b""
                    answer = await client.request(method.upper(), url, content=content)
                    said = "" if answer.status_code < 300 else answer.json()["detail"]
                    # Either the handler ran and speaks about this id, or it refused the empty body first.
                    if "there is nothing at" in said or "empty segment" in said:
                        failed.append((method, url))
                    # Some say only what is not there; those that name an id name this one.
                    if answer.status_code == 404 and "'" in said and id not in said:
                        failed.append((method, f"{url}: {said}"))
            return failed

    assert asyncio.run(ask()) == []


@pytest.mark.parametrize("id", ODD)
def test_an_erasure_reaches_the_person_that_was_named_and_nobody_else(
    tmp_path: Path, id: str
) -> None:
    async def ask() -> tuple[int, int, int]:
        async with serving(tmp_path) as client:
            for n, user in enumerate((id, "walter")):
                item = {"kind": "rating", "value": 1, "scale": "thumbs", "user_id": user}
                body = {**item, "output_id": f"o{n}", "event_id": f"e{n}"}
                assert (await client.post("/api/v1/feedback", json=body)).status_code == 201
            erasures = [
                (await client.post(f"/api/v1/people/{escaped(person)}/erase")).status_code
                for person in (id, id.strip("/") + "-", "walter")
            ]
            return erasures[0], erasures[1], erasures[2]

    assert asyncio.run(ask()) == (200, 404, 200)
