"""Compressed bodies: decoded within the limit at both doors, or refused in a sentence."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import httpx
import pytest

from loopwright.app.encodings import decoded_body
from loopwright.app.hot import SELECT
from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.errors import BodyMalformed, BodyTooLarge, WrongMediaType

LIMIT = 1024


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b"[1]", mtime=0)),
        (b"GZIP", gzip.compress(b"[1]", mtime=0)),
        (b"x-gzip", gzip.compress(b"[1]", mtime=0)),
        (b"deflate", zlib.compress(b"[1]")),
        (b"identity", b"[1]"),
        (b"gzip", gzip.compress(b"[", mtime=0) + gzip.compress(b"1]", mtime=0)),
    ],
)
def test_a_coding_is_taken_off(coding: bytes, body: bytes) -> None:
    assert decoded_body(body, coding, limit=LIMIT) == b"[1]"


@pytest.mark.parametrize("size", [LIMIT + 1, 50_000_000])
def test_the_limit_counts_what_a_body_decodes_to(size: int) -> None:
    assert len(decoded_body(gzip.compress(bytes(LIMIT)), b"gzip", limit=LIMIT)) == LIMIT
    with pytest.raises(BodyTooLarge, match="larger than 1024 bytes"):
        decoded_body(gzip.compress(bytes(size)), b"gzip", limit=LIMIT)


def test_members_together_count_as_one_body() -> None:
    with pytest.raises(BodyTooLarge):
        decoded_body(gzip.compress(bytes(600)) * 2, b"gzip", limit=LIMIT)


@pytest.mark.parametrize(
    "body", [b"", b"{}", gzip.compress(b"[1]", mtime=0)[:-3], gzip.compress(b"[1]", mtime=0) + b"x"]
)
def test_a_body_that_is_not_in_its_coding_is_malformed(body: bytes) -> None:
    with pytest.raises(BodyMalformed, match="not valid gzip"):
        decoded_body(body, b"gzip", limit=LIMIT)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b""])
def test_another_coding_is_refused_by_name(coding: bytes) -> None:
    with pytest.raises(WrongMediaType, match="send gzip, deflate or none"):
        decoded_body(b"{}", coding, limit=LIMIT)


EXPERIMENT = {"id": "x", "arms": [{"id": "a"}, {"id": "b"}]}


def test_every_door_reads_compressed_bodies_alike(tmp_path: Path) -> None:
    def bodies(content: bytes) -> list[tuple[bytes, dict[str, str]]]:
        packed = gzip.compress(content, mtime=0)
        return [
            (packed, {"content-encoding": "gzip"}),
            (zlib.compress(content), {"content-encoding": "deflate"}),
            (packed, {"content-encoding": "br"}),
            (content, {"content-encoding": "gzip"}),
            (gzip.compress(content + b" " * 10_000, mtime=0), {"content-encoding": "gzip"}),
            (packed, {"content-encoding": "gzip", "authorization": "Bearer x"}),
        ]

    async def ask() -> dict[str, list[int]]:
        services = Services(load_settings(data_dir=tmp_path, body_limit_bytes=LIMIT))
        front = application(services, asyncio.get_running_loop())
        key = (tmp_path / "admin.key").read_text().strip()
        found: dict[str, list[int]] = {}
        try:
            for name, door, path, body in (
                ("control plane", front, "/api/v1/experiments", EXPERIMENT),
                ("front", front, SELECT, {"experiment_id": "x"}),
                ("twin", front.behind, SELECT, {"experiment_id": "x"}),
            ):
                async with httpx.AsyncClient(
                    transport=httpx.ASGITransport(door),
                    base_url="http://loop",
                    headers={
                        "authorization": f"Bearer {key}",
                        "content-type": "application/json",
                    },
                ) as client:
                    found[name] = [
                        (await client.post(path, content=content, headers=headers)).status_code
                        for content, headers in bodies(json.dumps(body).encode())
                    ]
        finally:
            services.start()
            await asyncio.to_thread(services.close)
        return found

    found = asyncio.run(ask())
    # The second experiment is there already; a draft does not select.
    assert found["control plane"] == [201, 409, 415, 400, 413, 401]
    assert found["front"] == [409, 409, 415, 400, 413, 401]
    assert found["twin"] == found["front"]
