"""Requests of one form: read this, change that."""

from __future__ import annotations

import pytest

from loopwright.client.exchange import IDEMPOTENT, ONCE
from loopwright.client.requests import change, get, segment
from loopwright.core.errors import Invalid


def test_a_read_is_repeated_after_anything_that_may_pass() -> None:
    call = get("/experiments", bytes)
    assert (call.method, call.path, call.body) == ("GET", "/api/v1/experiments", None)
    assert call.retry_on == IDEMPOTENT


def test_a_change_is_repeated_only_when_it_cannot_have_arrived() -> None:
    call = change("POST", "/keys", body={"name": "a"}, read=bytes)
    assert (call.body, call.retry_on) == (b'{"name":"a"}', ONCE)
    assert change("POST", "/keys", body=None, read=bytes).body is None


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("a", "a"),
        ("team/a", "team%2Fa"),
        ("?x=1#", "%3Fx%3D1%23"),
        ("ä b", "%C3%A4%20b"),
        ("..", "%2E%2E"),
        (".", "%2E"),
    ],
)
def test_an_id_stays_one_segment_whatever_it_contains(id: str, expected: str) -> None:
    assert segment(id) == expected


@pytest.mark.parametrize("id", [None, 3, "\ud800", ""])
def test_an_id_that_no_path_can_carry_is_refused(id: str) -> None:
    with pytest.raises(Invalid, match="id is"):
        segment(id)
