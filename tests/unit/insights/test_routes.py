"""Insights over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.insights.site import EVER, Site, a_product
from tests.unit.warehouse.world import World, step

from loopwright.insights.report import QualityReport


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    world.say(*a_product(), step("x1", outcome="success"))
    made = Site(world, tmp_path)
    yield made
    made.database.close()


def test_the_report_is_served_as_json_and_as_a_page(site: Site) -> None:
    key = site.key("read")
    as_json = site.get("/quality/acme", key, params=EVER)
    page = site.get("/quality/acme", key, params=EVER, headers={"accept": "text/html,*/*;q=0.8"})
    asked = site.get("/quality/acme", key, params={**EVER, "format": "html"})

    assert as_json.status_code == 200, as_json.text
    report = msgspec.json.decode(as_json.content, type=QualityReport)
    assert report.census.facts == 128
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Quality report: acme" in page.text
    assert asked.headers["content-type"].startswith("text/html")


def test_insights_hold_only_the_sections_asked_for(site: Site) -> None:
    answer = site.get(
        "/insights/acme", site.key("read"), params={**EVER, "include": "metrics, joins"}
    )

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["metrics"][0]["value"] == 0.75
    assert found["joins"]["outcomes"] == 40
    assert (found["failures"], found["drift"]) == (None, None)


@pytest.mark.parametrize("path", ["/insights/acme", "/quality/acme"])
def test_another_tenants_report_does_not_exist(site: Site, path: str) -> None:
    rival = site.key("read", tenant_id="rival")

    assert site.get(path, rival).status_code == 404
    assert site.get(path.replace("acme", "nobody"), rival).status_code == 404
    assert site.get(path, site.key("admin", tenant_id="rival")).status_code == 404
    assert site.get(path, site.key("operator", tenant_id="rival")).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/insights/acme", "/quality/acme", "/decisions/s1", "/stats", "/export", "/join-health"],
)
def test_reading_needs_the_scope(site: Site, path: str) -> None:
    assert site.get(path, site.key("feedback")).status_code == 403
    assert site.get(path, "lw_nonsense").status_code == 401


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/stats", {"days": "0"}),
        ("/stats", {"days": "many"}),
        ("/stats", {"since": "2024-02-30"}),
        ("/export", {"format": "xml"}),
        ("/export", {"consent": "everything"}),
        ("/quality/acme", {"format": "pdf"}),
        ("/insights/acme", {"include": "moods"}),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_choices(
    site: Site, path: str, params: dict[str, str]
) -> None:
    answer = site.get(path, site.key("read"), params=params)

    assert answer.status_code == 422
    assert "expected" in answer.json()["detail"] or "a report has" in answer.json()["detail"]


def test_the_small_questions_are_answered_over_http(site: Site) -> None:
    key = site.key("read")
    stats = site.get("/stats", key, params=EVER).json()
    joins = site.get("/join-health", key, params=EVER).json()
    steps = site.get("/decisions/s1", key).json()
    lines = site.get("/export", key, params={**EVER, "format": "jsonl"})
    table = site.get("/export", key, params={**EVER, "format": "csv"})

    assert (stats["records"], stats["thumbs_up"], stats["thumbs_down"]) == (128, 60, 20)
    assert (joins["has_alarm"], joins["waiting"]) == (True, 10)
    assert steps["outcomes"] == {"success": 1}
    assert site.get("/decisions/none", key).status_code == 404
    assert len(lines.content.splitlines()) == 128
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 128
