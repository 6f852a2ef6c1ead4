"""The front and the documented handlers behind it answer to the byte alike."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from loopwright.app.hot import FEEDBACK, FEEDBACK_BATCH, SELECT
from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.experiment import Arm, ContextSpec, Experiment
from loopwright.testing import ManualClock

KEYS = '{"active":1,"keys":{"1":"%s"}}' % ("A" * 43 + "=")


class Side:
    """A loop whose every random choice is repeatable, and a client for one of its two doors."""

    def __init__(self, folder: Path, *, front: bool) -> None:
        folder.mkdir()
        (folder / "keys.json").write_text(KEYS)
        (folder / "keys.json").chmod(0o600)
        settings = load_settings(data_dir=folder, body_limit_bytes=20_000)
        self.services = Services(settings, clock=ManualClock(), rng=random.Random(5))
        # Units travel as digests made with the tenant's secret, which is drawn from the operating system.
        with closing(sqlite3.connect(folder / "people.db")) as people, people:
            people.execute(
                "INSERT INTO tenant_secrets VALUES (?, ?)", (DEFAULT_TENANT, bytes(32).hex())
            )
        catalog = self.services.truth.catalog
        for id, context in [("free", None), ("deep", ContextSpec(2))]:
            arms = (Arm(id="a", payload={"t": 1}), Arm(id="b"), Arm(id="c", state="disabled"))
            catalog.experiments.create(
                Experiment(id=id, tenant_id=DEFAULT_TENANT, arms=arms, context=context)
            )
            catalog.experiments.move(DEFAULT_TENANT, id, "start")
        whole = application(self.services, asyncio.get_running_loop())
        door: Any = whole if front else whole.behind
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=door), base_url="http://loop"
        )
        self.key = (folder / "admin.key").read_text().strip()

    async def ask(self, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        given = {"authorization": f"Bearer {self.key}", **headers}
        return await self.http.post(path, content=content, headers=given)

    async def close(self) -> None:
        await self.http.aclose()
        self.services.start()
        await asyncio.to_thread(self.services.close)


def settled(body: bytes) -> bytes:
    """The body without log offsets: decision rows reach the log when they please."""
    return re.sub(rb'"offset":\d+', b'"offset":0', body)


def corpus(rng: random.Random, tokens: list[str]) -> list[tuple[str, bytes, dict[str, str]]]:
    """Return good requests, the same with something broken in them, and noise."""
    odd: list[Any] = [None, True, 0, -1, 1.5, 1e300, "", "x", [], {}, [1, 2], ["a"], "é" * 9]
    cases: list[tuple[str, bytes, dict[str, str]]] = []
    for _ in range(400):
        token = rng.choice(tokens)
        path, body = rng.choice(
            [
                (SELECT, {"experiment_id": "free", "unit_id": "u", "mask": ["a", "b"]}),
                (SELECT, {"experiment_id": "deep", "context": {"id": "c", "vector": [1, 0.5]}}),
                (FEEDBACK, {"request_id": token, "reward": 1, "event_id": f"e{rng.random()}"}),
                (FEEDBACK_BATCH, {"items": [{"request_id": token, "reward": 0}] * 2}),
            ]
        )
        shape: dict[str, Any] = json.loads(json.dumps(body))
        if rng.random() < 0.6:
            name = rng.choice([*shape, "surprise"])
            shape[name] = rng.choice(odd)
        if rng.random() < 0.1:
            del shape[rng.choice(list(shape))]
        if path == FEEDBACK and rng.random() < 0.2:
            at = rng.randrange(len(token))
            shape["request_id"] = token[:at] + rng.choice("AZ09-_") + token[at + 1 :]
        content = json.dumps(shape).encode()
        if rng.random() < 0.1:
            content = content[: rng.randrange(len(content))]
        headers: dict[str, str] = {}
        if rng.random() < 0.1:
            headers["content-type"] = rng.choice(["text/plain", "application/json; charset=utf-8"])
        if rng.random() < 0.05:
            headers["authorization"] = rng.choice(["Bearer nope", "Basic x", ""])
        cases.append((path, content, headers))
    cases.append((SELECT, b"x" * 30_000, {}))
    return cases


def test_both_doors_give_equal_codes_and_bodies(tmp_path: Path) -> None:
    async def compare() -> set[int]:
        front = Side(tmp_path / "front", front=True)
        behind = Side(tmp_path / "behind", front=False)
        tokens = [
            front.services.door.selector.select(DEFAULT_TENANT, "free").request_id
            for _ in range(30)
        ]
        for _ in range(30):
            behind.services.door.selector.select(DEFAULT_TENANT, "free")
        seen = set()
        for path, content, headers in corpus(random.Random(9), tokens):
            one = await front.ask(path, content, headers)
            two = await behind.ask(path, content, headers)
            told = (path, content, headers)
            assert one.status_code == two.status_code, told
            assert settled(one.content) == settled(two.content), told
            assert one.headers["content-type"] == two.headers["content-type"], told
            assert one.headers.get("www-authenticate") == two.headers.get("www-authenticate")
            seen.add(one.status_code)
        await front.close()
        await behind.close()
        return seen

    assert asyncio.run(compare()) >= {200, 201, 400, 401, 403, 413, 415, 422}
