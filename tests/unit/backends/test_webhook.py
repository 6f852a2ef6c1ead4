from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from standardwebhooks.webhooks import Webhook
from tests.receiver import Receiver, receiving

from loopwright.backends.webhook import Webhooks, is_public, signature
from loopwright.core.clock import SystemClock
from loopwright.core.errors import Invalid
from loopwright.core.trigger import Sent

SECRET = "whsec_" + "c2VjcmV0LW9mLWEtdHJpZ2dlcg=="


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        made.secret = SECRET
        yield made


def send(url: str, *, timeout_s: float = 5.0) -> Sent:
    webhooks = Webhooks(allow_private=True, timeout_s=timeout_s)
    return webhooks.send(
        url, id="d1", at_s=SystemClock().now_ms() // 1000, body=b'{"a": 1}', secret=SECRET
    )


def test_a_message_arrives_whole_and_its_signature_holds(receiver: Receiver) -> None:
    assert send(receiver.url) == Sent(outcome="done", said="answered 204")
    ((headers, content),) = receiver.got
    assert content == {"a": 1}
    assert headers["webhook-id"] == "d1"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.server.server_port}"


def test_the_signature_is_the_one_of_the_standards_own_package() -> None:
    from datetime import UTC, datetime

    ours = signature(SECRET, id="msg_1", at_s=1_700_000_000, body=b'{"x":2}')
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    assert ours == Webhook(SECRET).sign("msg_1", at, json.dumps({"x": 2}, separators=(",", ":")))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(Invalid):
        signature(secret, id="a", at_s=1, body=b"")


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        (200, "done", "answered 200"),
        (500, "failed", "answered 500"),
        (410, "gone", "answered 410"),
        ({"status": 302, "location": "http://10.0.0.1/"}, "failed", "redirects are not followed"),
    ],
    ids=["200", "500", "410", "302"],
)
def test_what_the_receiver_answers_decides(
    receiver: Receiver, answer: int, outcome: str, said: str
) -> None:
    receiver.answers = [answer]
    found = send(receiver.url)
    assert found.outcome == outcome
    assert said in found.said
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("value", "seconds"), [("120", 120.0), ("soon", 0.0), ("-5", 0.0), ("9" * 30, 0.0)]
)
def test_a_receiver_may_ask_to_be_left_alone(
    receiver: Receiver, value: str, seconds: float
) -> None:
    receiver.answers = [{"status": 503, "retry-after": value}]
    assert send(receiver.url).retry_after_s == seconds


def test_a_receiver_that_trickles_is_cut_off(receiver: Receiver) -> None:
    receiver.answers = [30.0]
    began = time.monotonic()
    found = send(receiver.url, timeout_s=0.3)
    assert time.monotonic() - began < 10
    assert (found.outcome, found.said) == ("failed", "no answer within 0.3 s")


def test_nobody_there_is_a_failure_in_a_sentence(receiver: Receiver) -> None:
    url = receiver.url
    receiver.server.socket.close()
    assert send(url).outcome == "failed"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("::7f00:1", False),
    ],
)
def test_only_addresses_of_the_internet_at_large_are_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://user:pw@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nx: y",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::1/",
        "https://localhost/",
        "https://x.localhost/",
    ],
)
def test_an_address_that_is_none_or_private_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        Webhooks().check(url)


@pytest.mark.parametrize(
    "host",
    ["localhost.", "2130706433", "0x7f.1", "127.1", "a" * 64],
    ids=["name", "number", "hex", "short", "label"],
)
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(host: str) -> None:
    found = Webhooks().send(f"https://{host}/", id="d", at_s=1, body=b"", secret=SECRET)
    assert found.outcome == "failed"
    assert "private" in found.said or "not resolved" in found.said
