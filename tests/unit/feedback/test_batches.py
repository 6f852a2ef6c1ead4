from __future__ import annotations

import json

import msgspec
import pytest

from loopwright.feedback.batches import raw_items

HALF = rb'"\ud800"'


def test_the_items_of_a_batch_keep_their_bytes() -> None:
    assert [bytes(item) for item in raw_items(b'{"items": [{"a" :1}, 7]}')] == [b'{"a" :1}', b"7"]


@pytest.mark.parametrize("faulty", [HALF, b'{"k": %s}' % HALF, b"NaN", b"1e999"])
def test_one_faulty_item_leaves_the_others_readable(faulty: bytes) -> None:
    items = raw_items(b'{"items": [{"a": 1.5}, %s]}' % faulty)
    assert msgspec.json.decode(items[0]) == {"a": 1.5}
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(items[1])


@pytest.mark.parametrize(
    "body",
    [{"items": []}, {"items": [1] * 1001}, {"items": 3}, {"items": [1], "more": 2}, {"item": 1}],
)
def test_what_is_no_batch_is_no_batch(body: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        raw_items(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"", b"{", b'{"items": ["\xff \\ud800"]}', b'{"items": [' + HALF])
def test_what_is_no_json_in_utf_8_stays_malformed(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        raw_items(body)
