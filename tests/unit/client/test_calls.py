"""The requests of the data plane, as they leave."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from loopwright.client import FeedbackItem, Receipt, calls
from loopwright.client.exchange import IDEMPOTENT, Call, Done, Terms
from loopwright.core.errors import Invalid
from loopwright.testing import ManualClock

TERMS = Terms(base_url="http://loop", clock=ManualClock(), rng=random.Random(1))


def items(call: Call[Any]) -> list[dict[str, Any]]:
    assert call.body is not None
    sent: list[dict[str, Any]] = msgspec.json.decode(call.body)["items"]
    return sent


@pytest.mark.parametrize(
    ("item", "member"),
    [
        ({"kind": "rating", "value": 4}, "event_id"),
        ({"type": "explicit", "source": "user_rating", "category": "accuracy"}, "id"),
        ({"type": "signal", "kind": "copy", "value": 1, "at_ms": 5}, "event_id"),
        ({"original": "a", "corrected": "b"}, "event_id"),
    ],
)
def test_each_shape_of_feedback_gets_its_id_where_the_server_reads_it(
    item: dict[str, Any], member: str
) -> None:
    (sent,) = items(calls.send_feedback(TERMS, [item]))
    assert sent.keys() - item.keys() == {member}


def test_an_id_that_was_given_is_kept() -> None:
    given = [{"kind": "rating", "event_id": "mine"}, {"type": "log", "id": "mine too"}]
    assert items(calls.send_feedback(TERMS, given)) == given


@pytest.mark.parametrize("build", [calls.send_interactions, calls.send_steps])
def test_the_id_of_an_answer_or_a_step_is_not_the_id_of_its_fact(build: Any) -> None:
    (sent,) = items(build(TERMS, [{"id": "answer-1"}]))
    assert sent["id"] == "answer-1"
    assert sent["event_id"] not in (None, "answer-1")


def test_sending_leaves_the_callers_items_alone() -> None:
    item = {"kind": "rating"}
    calls.send_feedback(TERMS, [item])
    assert item == {"kind": "rating"}


@pytest.mark.parametrize(
    "call",
    [
        calls.feedback(TERMS, "token", 1.0),
        calls.feedback_batch(TERMS, [FeedbackItem("token", 1.0)]),
        calls.send_feedback(TERMS, [{"kind": "rating"}]),
        calls.send_interactions(TERMS, [{"id": "a"}]),
        calls.send_steps(TERMS, [{"id": "a"}]),
    ],
)
def test_feedback_is_repeated_after_anything_that_may_pass(call: Call[Any]) -> None:
    assert call.retry_on == IDEMPOTENT


def test_feedback_for_a_fallback_needs_no_server() -> None:
    terms = Terms(base_url="http://loop")
    assert calls.feedback(terms, None, 1.0) == Done(Receipt(skipped=True))
    assert terms.skipped == 1


@pytest.mark.parametrize("item", ["x", 3, None])
def test_an_item_that_is_no_mapping_is_named(item: Any) -> None:
    with pytest.raises(Invalid, match=r"items\[0\] is"):
        calls.send_feedback(TERMS, [item])
