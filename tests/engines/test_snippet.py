"""The browser snippet, in a real Chromium, against a server that only collects."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

try:
    from playwright.sync_api import Browser, Page, sync_playwright

    absent = "" if CHROMIUM else "no Chromium: install one or name it in CHROMIUM"
except ImportError:
    absent = "playwright is not installed: it is in the dev lock"

if absent and os.environ.get("CI") == "true":
    raise RuntimeError(absent)
pytestmark = pytest.mark.skipif(bool(absent), reason=absent or "present")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SNIPPET = resources.files("loopwright.app").joinpath("static/loopwright-feedback.js").read_bytes()

PAGE = """<!doctype html><title>answers</title>
<script src="/snippet.js"></script>
<main>
  <article data-lw-decision="token-1">
    <p id="text">The private answer text.</p>
    <button id="retry" data-lw-action="retry">Again</button>
    <button id="export" data-lw-action="export"><span id="inside">Export</span></button>
    <button id="up" data-lw-action="thumbs" data-lw-value="1">Up</button>
    <button id="down" data-lw-action="thumbs" data-lw-value="0">Down</button>
    <button id="four" data-lw-action="stars" data-lw-value="4">4</button>
  </article>
  <p id="outside">Outside text</p><button id="other">Other</button>
</main>
<script>loopwright.init(OPTIONS)</script>"""

Item = dict[str, Any]


class Collector:
    """Serves the page and keeps what is posted; `failures` of the next posts are answered with 503."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.failures = 0
        self.options: dict[str, object] = {"url": "/collect", "session": "session-1", "flushMs": 50}
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served = {
                    "/snippet.js": ("text/javascript", SNIPPET),
                    "/": ("text/html", collector.page()),
                }
                kind, body = served.get(self.path, ("text/html", b"elsewhere"))
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(collector.take(self.path, body, dict(self.headers)))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def page(self) -> bytes:
        return PAGE.replace("OPTIONS", json.dumps(self.options)).encode()

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        with self._changed:
            if path != "/collect":
                return 404
            if self.failures:
                self.failures -= 1
                return 503
            self.bodies.append(body)
            self.headers.append({key.lower(): value for key, value in headers.items()})
            self._changed.notify_all()
            return 200

    def items(self) -> list[Item]:
        return [item for body in self.bodies for item in json.loads(body)["items"]]

    def of(self, kind: str) -> list[Item]:
        return [item for item in self.items() if item["kind"] == kind]

    def wait(self, settled: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(settled, timeout=10), self.items()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.errors = errors  # type: ignore[attr-defined]  # read by `nothing_failed`
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert page.errors == []  # type: ignore[attr-defined]
    context.close()


def test_the_snippet_is_at_most_3_kb_as_served():
    assert len(SNIPPET) <= 3072


def test_an_answer_in_view_is_shown_with_everything_the_server_needs(
    page: Page, collector: Collector
):
    before_ms = time.time_ns() // 1_000_000 - 1000
    page.goto(collector.url)
    collector.wait(lambda: collector.of("shown"))
    (shown,) = collector.of("shown")
    assert shown["at_ms"] >= before_ms
    assert len(shown["event_id"]) == 36
    assert {key: shown[key] for key in ("type", "value", "request_id", "session_id")} == {
        "type": "signal",
        "value": 1,
        "request_id": "token-1",
        "session_id": "session-1",
    }
    assert collector.headers[0]["content-type"] == "application/json"
    assert "authorization" not in collector.headers[0]


def test_clicks_become_signals_and_ratings(page: Page, collector: Collector):
    page.goto(collector.url)
    for button in ("#retry", "#inside", "#up", "#down", "#four", "#other"):
        page.click(button)
    collector.wait(lambda: collector.of("stars"))
    said = [
        (i["type"], i["kind"], i["value"]) for i in collector.items() if i["kind"] != "first_action"
    ]
    assert [one for one in said if one[1] not in ("shown", "dwell")] == [
        ("signal", "retry", 1),
        ("signal", "export", 1),
        ("rating", "thumbs", 1),
        ("rating", "thumbs", 0),
        ("rating", "stars", 4),
    ]


def test_copying_inside_an_answer_counts_and_outside_does_not(page: Page, collector: Collector):
    page.goto(collector.url)
    for selector in ("#outside", "#text"):
        page.evaluate("s => getSelection().selectAllChildren(document.querySelector(s))", selector)
        page.keyboard.press("Control+C")
    collector.wait(lambda: collector.of("copy"))
    assert [item["request_id"] for item in collector.of("copy")] == ["token-1"]


def test_no_text_of_the_page_ever_leaves_it(page: Page, collector: Collector):
    page.goto(collector.url)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#text'))")
    page.keyboard.press("Control+C")
    page.click("#export")
    page.goto(collector.url + "/elsewhere")
    collector.wait(lambda: collector.of("export") and collector.of("dwell"))
    sent = b"".join(collector.bodies)
    assert b"private" not in sent
    assert b"answer" not in sent
    keys = {"type", "kind", "value", "request_id", "session_id", "event_id", "at_ms"}
    assert all(set(item) == keys for item in collector.items())


def test_time_to_first_action_is_sent_once(page: Page, collector: Collector):
    page.goto(collector.url)
    collector.wait(lambda: collector.of("shown"))
    page.wait_for_timeout(300)
    page.click("#retry")
    page.click("#retry")
    collector.wait(lambda: len(collector.of("retry")) == 2)
    (first,) = collector.of("first_action")
    assert 250 <= first["value"] < 10_000


def test_leaving_without_an_action_is_abandonment_with_the_time_in_view(
    page: Page, collector: Collector
):
    page.goto(collector.url)
    collector.wait(lambda: collector.of("shown"))
    page.wait_for_timeout(300)
    page.goto(collector.url + "/elsewhere")
    collector.wait(lambda: collector.of("abandonment"))
    assert [item["request_id"] for item in collector.of("abandonment")] == ["token-1"]
    assert max(item["value"] for item in collector.of("dwell")) >= 250


def test_closing_the_tab_still_sends_what_was_done(page: Page, collector: Collector):
    collector.options["flushMs"] = 60_000
    page.goto(collector.url)
    page.click("#export")
    assert collector.items() == []
    page.close(run_before_unload=True)
    collector.wait(lambda: collector.of("export") and collector.of("dwell"))
    assert collector.of("abandonment") == []


def test_time_in_a_hidden_tab_is_not_dwell(page: Page, collector: Collector):
    page.goto(collector.url)
    collector.wait(lambda: collector.of("shown"))

    def become(state: str) -> None:
        page.evaluate(
            """state => {
              Object.defineProperty(document, 'hidden', {value: state == 'hidden', configurable: true});
              document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
            }""",
            state,
        )

    page.wait_for_timeout(200)
    become("hidden")
    collector.wait(lambda: collector.of("dwell"))
    page.wait_for_timeout(1500)
    become("visible")
    page.wait_for_timeout(200)
    become("hidden")
    collector.wait(lambda: len(collector.of("dwell")) == 2)
    first, second = (item["value"] for item in collector.of("dwell"))
    assert 150 <= first < second
    assert second - first < 1000


def test_an_answer_that_is_added_later_is_watched(page: Page, collector: Collector):
    page.goto(collector.url)
    page.evaluate(
        """() => document.querySelector('main').insertAdjacentHTML('afterbegin',
          '<div data-lw-decision="token-2">new <button id="b2" data-lw-action="accept">ok</button></div>')"""
    )
    page.click("#b2")
    collector.wait(lambda: collector.of("accept"))
    assert [item["request_id"] for item in collector.of("accept")] == ["token-2"]
    assert {item["request_id"] for item in collector.of("shown")} == {"token-1", "token-2"}


def test_an_answer_out_of_view_is_not_shown_until_it_is_scrolled_to(
    page: Page, collector: Collector
):
    page.goto(collector.url)
    page.evaluate(
        """() => document.querySelector('main').insertAdjacentHTML('beforeend',
          '<div style="height:5000px"></div><div id="far" data-lw-decision="token-3">far</div>')"""
    )
    page.wait_for_timeout(200)
    assert "token-3" not in {item["request_id"] for item in collector.of("shown")}
    page.evaluate("document.querySelector('#far').scrollIntoView()")
    collector.wait(lambda: "token-3" in {item["request_id"] for item in collector.of("shown")})


def test_a_full_batch_is_sent_at_once_and_every_event_has_its_own_id(
    page: Page, collector: Collector
):
    collector.options |= {"flushMs": 60_000, "batch": 5}
    page.goto(collector.url)
    page.evaluate("() => { for (let i = 0; i < 25; i++) loopwright.track('token-9', 'copy', i) }")
    collector.wait(lambda: len(collector.items()) >= 25)
    assert {len(json.loads(body)["items"]) for body in collector.bodies} == {5}
    assert len({item["event_id"] for item in collector.items()}) == len(collector.items())


def test_a_batch_too_large_to_outlive_the_page_is_split(page: Page, collector: Collector):
    collector.options |= {"flushMs": 60_000}
    page.goto(collector.url)
    page.evaluate(
        "() => { for (let i = 0; i < 20; i++) loopwright.track('x'.repeat(9000), 'copy', i) }"
    )
    collector.wait(lambda: len(collector.of("copy")) >= 19)
    assert len(collector.bodies) > 1
    assert all(len(body) < 60_000 for body in collector.bodies)


def test_what_a_busy_server_refused_is_sent_again_with_the_same_ids(
    page: Page, collector: Collector
):
    collector.options["key"] = "lw_test"
    collector.failures = 2
    page.goto(collector.url)
    page.click("#export")
    collector.wait(lambda: collector.of("export") and collector.of("shown"))
    assert collector.failures == 0
    assert len({item["event_id"] for item in collector.items()}) == len(collector.items())


def test_a_key_goes_into_the_header_and_not_into_the_body(page: Page, collector: Collector):
    collector.options["key"] = "lw_test_key"
    page.goto(collector.url)
    collector.wait(lambda: collector.of("shown"))
    assert collector.headers[0]["authorization"] == "Bearer lw_test_key"
    assert b"lw_test_key" not in b"".join(collector.bodies)


def test_starting_twice_counts_once_and_tracking_before_the_start_is_ignored(
    page: Page, collector: Collector
):
    page.goto(collector.url + "/elsewhere")
    page.add_script_tag(content=SNIPPET.decode())
    page.evaluate("loopwright.track('token-0', 'copy')")
    page.evaluate(
        "options => { loopwright.init(options); loopwright.init(options) }", collector.options
    )
    page.evaluate("loopwright.track('token-1', 'copy')")
    collector.wait(lambda: collector.of("copy"))
    assert [item["request_id"] for item in collector.items()] == ["token-1"]
