from __future__ import annotations

import msgspec
import pytest

from loopwright.core.limit import Admission, NewLimit, headers_of, limit_of


def test_what_is_left_out_is_filled_in() -> None:
    made = limit_of("t", "chat", NewLimit(prior=80.0), revision=1, updated_at_ms=5)
    assert (made.least, made.most, made.burst) == (8.0, 80.0, 160.0)
    small = limit_of("t", "chat", NewLimit(prior=0.1), revision=1, updated_at_ms=5)
    assert small.burst == 1.0


def test_the_headers_are_whole_seconds_and_whole_tokens() -> None:
    limit = limit_of("t", "chat", NewLimit(prior=10.0, burst=25.0), revision=1, updated_at_ms=5)
    told = Admission(False, 0.4, 0.06, 2.46, 10.0, 3, False, "enforce")
    assert headers_of("chat", limit, told) == {
        "RateLimit-Policy": '"chat";q=25;w=3',
        "RateLimit": '"chat";r=0;t=3',
        "Retry-After": "1",
    }
    never = msgspec.structs.replace(told, retry_after_s=None)
    assert "Retry-After" not in headers_of("chat", limit, never)


@pytest.mark.parametrize("body", [b'{"prior":0}', b'{"prior":1e10}', b"{}", b'{"prior":1,"x":2}'])
def test_a_limit_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=NewLimit)
