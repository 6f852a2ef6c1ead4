from __future__ import annotations

import json

import msgspec
import pytest

from loopwright.client.answers import (
    SKIPPED,
    FeedbackItem,
    Receipt,
    Selection,
    read_batch,
    read_receipt,
    read_selection,
)
from loopwright.client.errors import ApiError
from loopwright.core.errors import NotFound

SELECTED = {
    "experiment_id": "greeting",
    "arm": {"id": "a"},
    "request_id": "t",
    "decision_id": "d",
    "propensity": 0.5,
    "snapshot": 7,
    "mode": "live",
}


def test_a_selection_of_a_newer_server_is_read_and_what_it_adds_is_passed_over() -> None:
    body = json.dumps({**SELECTED, "new_member": {"x": 1}}).encode()
    selection = read_selection(body)
    assert (selection.arm.id, selection.snapshot, selection.is_fallback) == ("a", 7, False)
    assert selection.arm.metadata == {}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"experiment_id": "x", "arm": "a"}'])
def test_an_answer_that_is_no_selection_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_selection(body)


def test_only_an_answer_without_a_token_is_a_local_fallback() -> None:
    local = read_selection(
        json.dumps({**SELECTED, "mode": "fallback", "request_id": None}).encode()
    )
    served = read_selection(json.dumps({**SELECTED, "mode": "fallback"}).encode())
    assert (local.is_fallback, served.is_fallback) == (True, False)
    assert Selection.__struct_config__.frozen


def test_a_misspelt_event_id_is_refused_because_a_retry_would_count_twice() -> None:
    with pytest.raises(msgspec.ValidationError, match="eventid"):
        msgspec.convert({"request_id": "t", "reward": 1, "eventid": "e"}, FeedbackItem)
    assert msgspec.json.encode(FeedbackItem("t", 1.0)) == b'{"request_id":"t","reward":1.0}'


def test_a_receipt_says_what_is_odd() -> None:
    body = {"event_id": "e", "decision_id": "d", "duplicate": True, "flags": ["foreign_metric"]}
    assert read_receipt(json.dumps(body).encode()) == Receipt(
        "e", "d", True, flags=("foreign_metric",)
    )


def test_fallbacks_are_put_back_between_what_travelled() -> None:
    refused = {"code": "not_found", "detail": "gone", "status": 404}
    answer = {
        "accepted": 1,
        "duplicates": 0,
        "rejected": 2,
        "results": [
            {"status": 201, "event_id": "e1", "decision_id": "d1"},
            {"status": 404, "problem": refused},
            {"status": 418, "problem": {"code": "teapot", "title": "short and stout"}},
        ],
    }
    kept = [SKIPPED, None, None, SKIPPED, None]
    batch = read_batch(json.dumps(answer).encode(), kept=kept)
    assert (batch.accepted, batch.rejected, batch.skipped) == (1, 2, 2)
    first, stored, gone, last, odd = batch.results
    assert first is last is SKIPPED
    assert stored == Receipt("e1", "d1")
    assert isinstance(gone, NotFound)
    assert isinstance(odd, ApiError)
    assert odd.message == "short and stout"


def test_a_batch_of_fallbacks_alone_has_a_result_for_each() -> None:
    empty = b'{"accepted": 0, "duplicates": 0, "rejected": 0, "results": []}'
    batch = read_batch(empty, kept=[SKIPPED, SKIPPED])
    assert batch.results == (SKIPPED, SKIPPED)
    assert batch.skipped == 2
