"""The catalog over HTTP: real tables and key ring behind the controllers, without a log and a learner."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.testing import TestClient
from tests.unit.catalog.routes.caller import Caller, Client

from loopwright.app.asgi import problem
from loopwright.app.keyring import KeyRing
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog, Counted, Usage
from loopwright.catalog.routes import CONTROLLERS
from loopwright.core.errors import LoopError, Unauthenticated
from loopwright.core.ids import Ids
from loopwright.core.principal import SCOPES, Principal
from loopwright.testing import ManualClock
from loopwright.web.guard import Connection, Guard, principal_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(clock: ManualClock) -> Iterator[Catalog]:
    database = SqliteDatabase(":memory:")
    catalog = Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)))
    catalog.tenants.create("acme")
    catalog.tenants.create("globex")
    yield catalog
    database.close()


class Stage:
    """What the application serves from at the moment."""

    catalog: Catalog
    ring: KeyRing


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="session")
def app(stage: Stage) -> Litestar:
    """The controllers over whatever is on stage; built once, because that takes a while."""

    def authenticate(connection: Connection) -> Principal:
        scheme, _, raw = connection.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Unauthenticated("send Authorization: Bearer lw_…")
        return stage.catalog.authenticate(raw)

    def principal(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

    def usage_of(tenant_id: str) -> Usage:
        quotas = stage.catalog.tenants.get(tenant_id).quotas
        return stage.catalog.meters.usage(tenant_id, quotas, Counted(7, 99), experiments=1)

    def told(_: Request[Any, Any, Any], error: LoopError) -> Response[bytes]:
        reply = problem(error)
        return Response(reply.body, status_code=reply.status, media_type=reply.media_type.decode())

    return Litestar(
        CONTROLLERS,
        dependencies={
            "principal": Provide(principal, sync_to_thread=False),
            "catalog": Provide(lambda: stage.catalog, sync_to_thread=False),
            "usage_of": Provide(lambda: usage_of, sync_to_thread=False),
            "signing_ring": Provide(lambda: stage.ring, sync_to_thread=False),
        },
        exception_handlers={LoopError: told},
        guards=[Guard(authenticate)],
        openapi_config=None,
        logging_config=None,
    )


@pytest.fixture
def client(app: Litestar, stage: Stage, catalog: Catalog, tmp_path: Path) -> Iterator[Client]:
    stage.catalog, stage.ring = catalog, KeyRing(tmp_path)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def acme(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "acme", "read", "manage")


@pytest.fixture
def globex(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "globex", "read", "manage")


@pytest.fixture
def admin(client: Client, catalog: Catalog) -> Caller:
    return Caller(client, catalog, "default", *SCOPES)
