"""The pages of a real server, in a real Chromium that may talk to nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.test_snippet import CHROMIUM, FLAGS, SNIPPET, absent
from tests.flow.conftest import Server

pytestmark = pytest.mark.skipif(bool(absent), reason=absent or "present")


def test_the_api_documentation_opens_without_the_internet(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    server = Server(tmp_path)
    asked: list[str] = []
    problems: list[str] = []
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
            page.goto(f"{server.url}/docs")
            page.get_by_text("/api/v1/agent/select", exact=True).wait_for(timeout=20_000)
            shown = page.locator(".opblock-summary-path").count()
            browser.close()
    finally:
        server.stop()
    assert shown > 40
    assert problems == []
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


def test_the_files_that_browsers_need_are_served(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        snippet = server.http.get("/static/loopwright-feedback.js")
        packed = server.http.get("/static/swagger-ui.css")
        plain = server.http.get("/static/swagger-ui.css", headers={"accept-encoding": "identity"})
        missing = server.http.get("/static/keys.json")
    finally:
        server.stop()
    assert snippet.content == SNIPPET
    assert snippet.headers["content-type"].startswith("text/javascript")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
