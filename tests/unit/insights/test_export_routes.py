"""Exports over HTTP: parameters and headers; what is in a page is in test_extract and tests/flow."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.warehouse.world import NOW, UP, World, feedback
from tests.unit.web.serving import Client, serving

from loopwright.backends import resolve
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.core.ids import Ids
from loopwright.insights.export_routes import ExportController

PATH = "/api/v1/export/feedback"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    world = World(tmp_path)
    world.say(*(feedback(f"f{k}", UP, at_ms=NOW + k) for k in range(5)))
    world.say(feedback("secret", UP, tenant_id="globex"))
    database = SqliteDatabase(":memory:")
    catalog = Catalog(database, clock=world.clock, ids=Ids(world.clock, random.Random(1)))
    for tenant in ("acme", "globex"):
        catalog.tenants.create(tenant)
    with serving(
        [ExportController],
        catalog=catalog,
        warehouse=world.warehouse(),
        columnar=resolve.columnar(),
    ) as client:
        yield client
    world.close()
    database.close()


def test_pages_follow_each_other_by_a_header_that_the_last_one_lacks(client: Client) -> None:
    seen: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = client.get(PATH, params={"cursor": cursor, "limit": "2"})
        assert page.status_code == 200, page.text
        seen += [json.loads(line)["event_id"] for line in page.text.splitlines()]
        cursor = page.headers.get("x-next-cursor")
    assert seen == ["f0", "f1", "f2", "f3", "f4"]
    assert int(page.headers["x-log-offset"]) >= 5
    assert page.headers["content-disposition"] == 'attachment; filename="feedback.jsonl"'


@pytest.mark.parametrize(
    ("format", "type", "begins"),
    [
        ("jsonl", "application/x-ndjson", b"{"),
        ("csv", "text/csv", b"log_offset"),
        ("parquet", "application/vnd.apache.parquet", b"PAR1"),
    ],
)
def test_each_format_says_what_it_is(client: Client, format: str, type: str, begins: bytes) -> None:
    page = client.get(PATH, params={"format": format})
    assert page.headers["content-type"].split(";")[0] == type
    assert begins in page.content[:200]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"cursor": "²"}, "cursor is '²'"),
        ({"cursor": "-1"}, "cursor is '-1'"),
        ({"cursor": "9" * 19}, "expected a whole number"),
        ({"limit": "many"}, "limit is 'many'"),
        ({"limit": "0"}, "limit"),
        ({"format": "xml"}, "expected one of jsonl, csv, parquet"),
        ({"consent": "all"}, "consent"),
        ({"since": "soon"}, "since"),
        ({"tz": "Mars/Phobos", "since": "2024-01-01"}, "Mars/Phobos"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    client: Client, params: dict[str, str], says: str
) -> None:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


def test_tables_and_tenants_that_are_not_there_are_not_found(client: Client) -> None:
    assert client.get("/api/v1/export/passwords").status_code in (404, 422)
    for tenant in ("globex", "nobody"):
        assert client.get(PATH, params={"tenant_id": tenant}).status_code == 404
    assert "secret" not in client.get(PATH).text
    assert client.get(PATH, headers={"x-scopes": "feedback"}).status_code == 403
