"""A product's feedback, and the controller over it, asked without a network."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
from litestar import Litestar, Request, Response
from litestar.di import Provide
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, feedback

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.core.errors import LoopError
from loopwright.core.events import Fact
from loopwright.core.feedback import Correction, Outcome, Target
from loopwright.core.ids import Ids
from loopwright.core.principal import Principal
from loopwright.insights.routes import InsightsController
from loopwright.trust import Trust
from loopwright.warehouse.period import Period
from loopwright.web.guard import Connection, Guard, principal_of

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)
EVER = {"since": "2020-01-01", "until": "2026-01-01"}


def a_product() -> list[Fact]:
    """80 calls with 60 thumbs up and 20 down, 8 corrections, 40 outcomes of which 30 are joined to a version."""
    facts: list[Fact] = []
    for k in range(80):
        at = NOW - (k % 20) * DAY
        about = Target(output_id=f"o{k}")
        person = f"u{k % 40}"
        is_bad = k % 4 == 0
        facts += [
            call(f"o{k}", at_ms=at, session_id=f"s{k}", task="sql", prompt_version=f"p{k % 2}",
                 model_version="m1", person=person, query="revenue by region"),
            feedback(f"r{k}", DOWN if is_bad else UP, target=about, at_ms=at, person=person, category="accuracy",
                     message=f"wrong date format in {k}" if is_bad else f"just what I need, {k}"),
        ]  # fmt: skip
        if k % 10 == 0:
            facts.append(feedback(f"c{k}", Correction("a", "b", "no", 0.5), target=about, at_ms=at))
        if k % 2 == 0:
            target = about if k % 8 else Target(output_id=f"unknown{k}")
            facts.append(feedback(f"q{k}", Outcome("resolved", 1.0), target=target, at_ms=at))
    return facts


def _problem(_: Request[Any, Any, Any], error: LoopError) -> Response[dict[str, Any]]:
    return Response({"detail": error.message, "code": error.code}, status_code=error.status)


class Site:
    """The controller with a real catalog and warehouse, asked without a network."""

    def __init__(self, world: World, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "catalog.db")
        ids = Ids(world.clock, random.Random(1))
        self.catalog = Catalog(self.database, clock=world.clock, ids=ids)
        self.catalog.tenants.create("acme", name="", actor="test")
        self.catalog.tenants.create("rival", name="", actor="test")
        warehouse = world.warehouse()

        def authenticate(connection: Connection) -> Principal:
            return self.catalog.authenticate(connection.headers["authorization"].split()[1])

        def principal(request: Request[Any, Any, Any]) -> Principal:
            return principal_of(request)

        self.app = Litestar(
            [InsightsController],
            dependencies={
                "principal": Provide(principal, sync_to_thread=False),
                "catalog": Provide(lambda: self.catalog, sync_to_thread=False),
                "warehouse": Provide(lambda: warehouse, sync_to_thread=False),
                "as_sent": Provide(lambda: list, sync_to_thread=False),
                "weighing": Provide(lambda: Trust(warehouse), sync_to_thread=False),
            },
            guards=[Guard(authenticate)],
            openapi_config=None,
            exception_handlers={LoopError: _problem},
            logging_config=None,
        )

    def key(self, *scopes: Any, tenant_id: str = "acme") -> str:
        return self.catalog.keys.create(tenant_id, scopes, name="", actor="test").secret

    def get(self, path: str, key: str, **kwargs: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                headers = {"authorization": f"Bearer {key}", **kwargs.pop("headers", {})}
                return await client.get(f"/api/v1/feedback{path}", headers=headers, **kwargs)

        return asyncio.run(ask())
