from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.flow.conftest import Server

from loopwright.backends.endpoint import FAILURES, EndpointClassifier
from loopwright.core.errors import SettingsInvalid
from loopwright.testing import ManualClock
from loopwright.texts.classify import CATEGORIES, RuleClassifier

RULES = RuleClassifier()


class Endpoint(ThreadingHTTPServer):
    """Speaks `/v1/chat/completions`; says what it is told to say, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.headers, self.says = 200, dict[str, str](), "latency"
        self.body: bytes | None = None
        self.silent = threading.Event()
        """Answers wait for this while it is not set."""
        self.silent.set()
        self.trickles = False
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self) -> bytes:
        if self.body is not None:
            return self.body
        choice = {"index": 0, "message": {"role": "assistant", "content": self.says}}
        return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        endpoint = self.server
        assert self.path == "/v1/chat/completions", self.path
        endpoint.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        endpoint.keys.append(self.headers["authorization"])
        endpoint.silent.wait(5)
        try:
            self.send_response(endpoint.status)
            for name, value in endpoint.headers.items():
                self.send_header(name, value)
            self.end_headers()
            body = endpoint.answer()
            for part in (
                [body[k : k + 1] for k in range(len(body))] if endpoint.trickles else [body]
            ):
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(0.02 if endpoint.trickles else 0)
        except ConnectionError:
            pass  # the client has given up, as it should

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.silent.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def classifier(endpoint: Endpoint, clock: ManualClock) -> Iterator[EndpointClassifier]:
    made = EndpointClassifier(
        endpoint.url, model="small", fallback=RULES, clock=clock, api_key="k1", timeout_s=1.0
    )
    yield made
    made.close()


def later(clock: ManualClock) -> None:
    """Let so much time pass that waiting is allowed again, but no pause is over."""
    clock.advance(seconds=12)


def test_the_models_label_is_taken_and_named_as_the_models(
    endpoint: Endpoint, classifier: EndpointClassifier
) -> None:
    scores = classifier.classify("it took its sweet time")

    assert (scores.label, scores.probability) == ("latency", 1.0)
    assert scores.version == classifier.version
    assert scores.version.startswith("endpoint-small-")
    assert tuple(scores.probabilities) == CATEGORIES
    (asked,) = endpoint.asked
    assert (asked["model"], asked["temperature"]) == ("small", 0)
    assert json.loads(asked["messages"][1]["content"]) == {"text": "it took its sweet time"}
    assert endpoint.keys == ["Bearer k1"]


def test_an_equal_text_is_asked_once(endpoint: Endpoint, classifier: EndpointClassifier) -> None:
    first, again = classifier.classify("meh"), classifier.classify("meh")

    assert first == again
    assert (len(endpoint.asked), classifier.answered) == (1, 1)


def test_half_a_surrogate_pair_is_asked_about_like_any_text(
    endpoint: Endpoint, classifier: EndpointClassifier
) -> None:
    assert classifier.classify("odd \ud800 text").label == "latency"
    asked = json.loads(endpoint.asked[0]["messages"][1]["content"])
    assert asked == {"text": "odd \ud800 text"}


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>hello</html>", "garbage"),
        (200, b"{}", "garbage"),
        (200, b'{"choices":[{"message":{"content":null}}]}', "garbage"),
        (200, b'{"choices":[{"message":{"content":"I love cats"}}]}', "garbage"),
        (200, b'{"choices":[{"message":{"content":"cost or latency"}}]}', "garbage"),
        (200, b"[" * 60_000, "garbage"),
        (200, b"x" * 100_000, "garbage"),
        (200, b"\xff\xfe", "garbage"),
        (500, b"oops", "status"),
        (502, b"", "status"),
    ],
)
def test_what_is_no_label_leaves_the_answer_to_the_rules(
    status: int, body: bytes, why: Any, endpoint: Endpoint, classifier: EndpointClassifier
) -> None:
    endpoint.status, endpoint.body = status, body
    scores = classifier.classify("far too expensive")

    assert scores == RULES.classify("far too expensive")
    assert scores.version.startswith("rules-")
    assert dict(classifier.fell_back) == {why: 1}
    assert not classifier.is_paused


def test_an_endpoint_that_keeps_failing_is_left_alone_and_tried_again_later(
    endpoint: Endpoint, classifier: EndpointClassifier, clock: ManualClock
) -> None:
    endpoint.status = 500
    for k in range(FAILURES):
        assert not classifier.is_paused
        classifier.classify(f"slow {k}")
        later(clock)
    assert classifier.is_paused
    assert classifier.classify("slow").version == RULES.version
    assert (len(endpoint.asked), classifier.fell_back["paused"]) == (FAILURES, 1)

    clock.advance(seconds=20)
    classifier.classify("still slow")
    assert classifier.is_paused, "one failure more is enough"
    clock.advance(seconds=31)
    endpoint.status = 200
    assert classifier.classify("slow again").version == classifier.version
    later(clock)
    endpoint.status = 500
    classifier.classify("and down once more")
    assert not classifier.is_paused, "an answer has cleared the count"


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"retry-after": "90"}, 90), ({}, 30), ({"retry-after": "soon"}, 30)]
)
def test_a_rate_limit_is_kept(
    headers: dict[str, str],
    seconds: int,
    endpoint: Endpoint,
    classifier: EndpointClassifier,
    clock: ManualClock,
) -> None:
    endpoint.status, endpoint.headers = 429, headers
    assert classifier.classify("slow").version == RULES.version
    assert classifier.fell_back["rate_limited"] == 1
    clock.advance(seconds=seconds - 1)
    assert classifier.is_paused
    clock.advance(seconds=1)
    assert not classifier.is_paused


def test_a_wrong_key_is_not_tried_again_at_once(
    endpoint: Endpoint, classifier: EndpointClassifier
) -> None:
    endpoint.status = 401
    classifier.classify("slow")
    assert classifier.is_paused
    assert classifier.fell_back["status"] == 1


def test_a_silent_endpoint_holds_nobody_up(endpoint: Endpoint, clock: ManualClock) -> None:
    endpoint.silent.clear()
    classifier = EndpointClassifier(
        endpoint.url, model="small", fallback=RULES, clock=clock, timeout_s=0.1
    )
    for k in range(1000):
        assert classifier.classify(f"slow {k}").version == RULES.version
    assert classifier.fell_back["timeout"] == 1
    assert sum(classifier.fell_back.values()) == 1000
    endpoint.silent.set()
    classifier.close()


def test_an_answer_that_trickles_in_is_given_up(endpoint: Endpoint, clock: ManualClock) -> None:
    endpoint.trickles = True
    classifier = EndpointClassifier(
        endpoint.url, model="small", fallback=RULES, clock=clock, timeout_s=0.1
    )
    assert classifier.classify("slow").version == RULES.version
    classifier.close()
    assert classifier.fell_back["timeout"] == 1


def test_waiting_takes_a_tenth_of_the_time_at_most(
    endpoint: Endpoint, classifier: EndpointClassifier, clock: ManualClock
) -> None:
    waiting = threading.Timer(0.1, endpoint.silent.set)
    endpoint.silent.clear()
    waiting.start()
    assert classifier.classify("one").version == classifier.version
    assert classifier.classify("two").version == RULES.version
    assert classifier.fell_back["waited"] == 1
    assert classifier.classify("one").version == classifier.version, "known answers cost nothing"
    later(clock)
    assert classifier.classify("two").version == classifier.version


def test_nobody_listening_leaves_the_answer_to_the_rules(clock: ManualClock) -> None:
    classifier = EndpointClassifier(
        "http://127.0.0.1:1/v1", model="small", fallback=RULES, clock=clock
    )
    assert classifier.classify("slow").version == RULES.version
    assert dict(classifier.fell_back) == {"unreachable": 1}
    classifier.close()


def test_the_metrics_say_how_often_the_rules_stood_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT__CLASSIFIER_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("LOOPWRIGHT__CLASSIFIER_MODEL", "small")
    server = Server(tmp_path)
    try:
        comment = {"kind": "rating", "value": 1, "scale": "thumbs", "message": "much too slow"}
        answer = server.post("/feedback", {**comment, "session_id": "s1"})
        assert answer.status_code == 201, answer.text
        told = server.http.get("/metrics").text
    finally:
        server.stop()
    assert 'loopwright_classifier_fallbacks_total{reason="unreachable"} 1.0' in told


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("models.example/v1", {}),
        ("ftp://models.example", {}),
        ("http://", {}),
        ("http://models.example/v1", {"model": ""}),
        ("http://models.example/v1", {"timeout_s": 0}),
        ("http://models.example/v1", {"timeout_s": 60}),
    ],
)
def test_settings_that_cannot_work_are_refused(
    url: str, settings: dict[str, Any], clock: ManualClock
) -> None:
    with pytest.raises(SettingsInvalid):
        EndpointClassifier(url, **{"model": "small", **settings}, fallback=RULES, clock=clock)
