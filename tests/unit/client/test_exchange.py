from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from loopwright.client import ApiError, Arm, Receipt, Selection, Unreachable
from loopwright.client.calls import feedback, feedback_batch, select
from loopwright.client.control import create_experiment as create
from loopwright.client.control import list_experiments
from loopwright.client.exchange import (
    Call,
    Done,
    Failure,
    Reply,
    Send,
    Terms,
    Wait,
    converse,
)
from loopwright.core.errors import (
    Conflict,
    ContextInvalid,
    LoopError,
    Overloaded,
    RewardInvalid,
    TokenForged,
)
from loopwright.testing import ManualClock

UNSENT, LOST, LATE = (
    Failure("unsent", "refused"),
    Failure("lost", "reset"),
    Failure("late", "slow"),
)


class Hand:
    """A monotonic clock moved by the waits of a conversation."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def terms(**changes: Any) -> Terms:
    return Terms(
        base_url="http://server",
        clock=ManualClock(1_750_000_000_000),
        monotonic=Hand(),
        rng=random.Random(1),
        **changes,
    )


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, msgspec.json.encode(body))


def problem(status: int, code: str, **members: Any) -> Reply:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": "it is so"}
    return answer(status, {**body, "code": code, **members})


SELECTED = answer(
    200,
    {
        "request_id": "token",
        "decision_id": "d" * 32,
        "experiment_id": "greeting",
        "arm": {"id": "short", "payload": {"text": "Hi"}, "metadata": {}},
        "propensity": 0.5,
        "snapshot": 7,
        "mode": "live",
    },
)
STORED = answer(201, {"event_id": "e", "decision_id": "d", "duplicate": False})


def play(
    terms: Terms, call: Call[Any] | Done[Any], *outcomes: Reply | Failure
) -> tuple[Any, list[Send | Wait]]:
    """Carry a conversation out with scripted outcomes; return its end and the steps it took."""
    if isinstance(call, Done):
        return call.value, []
    script: Iterator[Reply | Failure] = iter(outcomes)
    steps: list[Send | Wait] = []
    conversation = converse(terms, call)
    told: Reply | Failure | None = None
    try:
        while True:
            step = conversation.send(told)
            steps.append(step)
            if isinstance(step, Wait):
                assert isinstance(terms.monotonic, Hand)
                terms.monotonic.now_s += step.seconds
                told = None
            else:
                told = next(script)
    except StopIteration as stop:
        return stop.value, steps
    except LoopError as error:
        return error, steps


def bodies(steps: list[Send | Wait]) -> list[Any]:
    return [msgspec.json.decode(step.body or b"null") for step in steps if isinstance(step, Send)]


def test_select_sends_what_the_wire_format_says() -> None:
    context = {"id": "u1", "vector": [1, 2.5], "metadata": {"page": "home"}}
    call = select(terms(), experiment_id="greeting", context=context, unit_id="u1", mask=["short"])
    got, steps = play(terms(), call, SELECTED)
    assert isinstance(got, Selection)
    assert (got.arm, got.request_id, got.is_fallback) == (
        Arm("short", {"text": "Hi"}),
        "token",
        False,
    )
    assert bodies(steps) == [
        {
            "experiment_id": "greeting",
            "context": {"id": "u1", "vector": [1.0, 2.5], "metadata": {"page": "home"}},
            "unit_id": "u1",
            "mask": ["short"],
        }
    ]


def test_an_empty_mask_is_sent_and_not_mistaken_for_none() -> None:
    _, steps = play(terms(), select(terms(), experiment_id="x", mask=[]), SELECTED)
    assert bodies(steps) == [{"experiment_id": "x", "mask": []}]


def test_answers_may_gain_fields_without_breaking_older_clients() -> None:
    body = msgspec.json.decode(SELECTED.body) | {"rule": "new"}
    got, _ = play(terms(), select(terms(), experiment_id="x"), answer(200, body))
    assert isinstance(got, Selection)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_cannot_carry_is_refused_before_sending(bad: float) -> None:
    with pytest.raises(RewardInvalid, match="finite"):
        feedback(terms(), request_id="token", reward=bad)
    with pytest.raises(ContextInvalid, match=r"vector\[1\]"):
        select(terms(), experiment_id="x", context={"vector": [0.0, bad]})


def test_a_vector_of_text_is_refused_before_sending() -> None:
    with pytest.raises(ContextInvalid, match="list of numbers"):
        select(terms(), experiment_id="x", context={"vector": ["a"]})


def test_feedback_repeats_the_same_event_id_until_it_is_stored() -> None:
    call = feedback(terms(), request_id="token", reward=True)
    got, steps = play(terms(), call, LATE, answer(503), LOST, STORED)
    assert got == Receipt(event_id="e", decision_id="d")
    sent = bodies(steps)
    assert len(sent) == 4
    assert len({item["event_id"] for item in sent}) == 1
    assert len(sent[0]["event_id"]) == 32
    assert sent[0]["reward"] == 1.0


def test_two_feedbacks_have_two_event_ids() -> None:
    shared = terms()
    ids = set()
    for _ in range(100):
        _, steps = play(shared, feedback(shared, request_id="token", reward=1), STORED)
        ids.add(bodies(steps)[0]["event_id"])
    assert len(ids) == 100


def test_an_event_id_of_the_product_is_kept() -> None:
    call = feedback(terms(), request_id="token", reward=1, event_id="order-7")
    assert bodies(play(terms(), call, STORED)[1])[0]["event_id"] == "order-7"


def test_a_wait_is_never_shorter_than_the_server_asks() -> None:
    for header in ("2", "Sun, 15 Jun 2025 15:06:42 GMT"):
        call = feedback(terms(), request_id="token", reward=1)
        got, steps = play(terms(), call, answer(429, headers={"retry-after": header}), STORED)
        assert isinstance(got, Receipt)
        wait = steps[1]
        assert isinstance(wait, Wait)
        assert 2.0 <= wait.seconds <= 2.5


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    call = feedback(terms(), request_id="token", reward=1)
    busy = Reply(503, {"retry-after": "60"}, problem(503, "overloaded", retry_after_s=60).body)
    got, steps = play(terms(timeout_s=5), call, busy)
    assert isinstance(got, Overloaded)
    assert got.detail == {"retry_after_s": 60}
    assert len(steps) == 1


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "inf", ""])
def test_a_retry_after_that_says_nothing_is_ignored(header: str) -> None:
    call = feedback(terms(), request_id="token", reward=1)
    _, steps = play(terms(), call, answer(503, headers={"retry-after": header}), STORED)
    assert isinstance(steps[1], Wait)
    assert steps[1].seconds <= 0.05


def test_retries_end_and_say_how_often_they_tried() -> None:
    call = feedback(terms(), request_id="token", reward=1)
    got, steps = play(terms(retries=2), call, UNSENT, UNSENT, UNSENT)
    assert isinstance(got, Unreachable)
    assert got.detail == {"attempts": 3}
    assert sum(isinstance(step, Send) for step in steps) == 3


def test_the_time_left_shrinks_with_every_attempt() -> None:
    call = feedback(terms(), request_id="token", reward=1)
    busy = answer(503, headers={"retry-after": "1"})
    _, steps = play(terms(timeout_s=4), call, busy, busy, STORED)
    left = [step.timeout_s for step in steps if isinstance(step, Send)]
    assert left[0] == 4
    assert left[0] > left[1] + 1 > left[2] + 2


@pytest.mark.parametrize("outcome", [UNSENT, LOST])
def test_select_tries_again_when_the_connection_fails(outcome: Failure) -> None:
    got, _ = play(terms(), select(terms(), experiment_id="x"), outcome, SELECTED)
    assert isinstance(got, Selection)
    assert got.request_id == "token"


@pytest.mark.parametrize("outcome", [LATE, problem(503, "overloaded")])
def test_select_does_not_wait_for_a_slow_or_overloaded_server(outcome: Reply | Failure) -> None:
    got, steps = play(terms(), select(terms(), experiment_id="x"), outcome)
    assert isinstance(got, Unreachable | Overloaded)
    assert len(steps) == 1


@pytest.mark.parametrize("outcome", [LATE, answer(502), problem(503, "overloaded")])
def test_the_default_arm_stands_in_and_says_so(outcome: Reply | Failure) -> None:
    shared = terms(default_arms={"greeting": {"text": "Hello"}})
    got, _ = play(shared, select(shared, experiment_id="greeting"), outcome)
    assert isinstance(got, Selection)
    assert got.is_fallback
    assert got.request_id is None
    assert got.mode == "fallback"
    assert got.arm == Arm("default", {"text": "Hello"})
    assert "http://server" in (got.reason or "")
    assert shared.fallbacks == 1


def test_a_default_arm_keeps_its_own_id() -> None:
    shared = terms(default_arms={"greeting": Arm("short", "Hi")})
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Selection)
    assert got.arm == Arm("short", "Hi")


def test_a_default_arm_that_is_text_is_the_arm_of_that_id() -> None:
    shared = terms(default_arms={"greeting": "short"})
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Selection)
    assert got.arm == Arm("short", "short")
    assert got.is_fallback


@pytest.mark.parametrize("default", ["short", {"text": "Hi"}], ids=["id", "payload"])
def test_a_default_arm_is_the_real_one_once_the_server_has_sent_it(default: object) -> None:
    shared = terms(default_arms={"greeting": default})
    play(shared, select(shared, experiment_id="greeting"), SELECTED)
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Selection)
    assert got.arm == Arm("short", {"text": "Hi"})
    assert got.is_fallback


def test_a_default_arm_may_be_a_mapping() -> None:
    shared = terms(default_arms={"greeting": {"id": "short", "payload": 1}})
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Selection)
    assert got.arm == Arm("short", 1)


def test_a_payload_of_none_is_a_default_too() -> None:
    shared = terms(default_arms={"greeting": None})
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Selection)
    assert got.is_fallback


def test_without_a_default_arm_the_product_is_told() -> None:
    shared = terms(default_arms={"other": "x"})
    got, _ = play(shared, select(shared, experiment_id="greeting"), LATE)
    assert isinstance(got, Unreachable)
    assert "is the server running" in got.message


def test_a_refusal_is_never_hidden_by_the_default_arm() -> None:
    shared = terms(default_arms={"greeting": "x"})
    refusal = problem(409, "experiment_closed", state="paused")
    got, _ = play(shared, select(shared, experiment_id="greeting"), refusal)
    assert isinstance(got, Conflict)
    assert got.code == "experiment_closed"
    assert got.detail == {"state": "paused"}
    assert shared.fallbacks == 0


def test_an_outage_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="loopwright.client")
    shared = terms(default_arms={"greeting": "x"})
    for outcome in (LATE, LATE, SELECTED, LATE):
        play(shared, select(shared, experiment_id="greeting"), outcome)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "WARNING"]
    assert shared.fallbacks == 3


def test_feedback_for_a_fallback_is_counted_and_not_sent() -> None:
    shared = terms()
    got, steps = play(shared, feedback(shared, request_id=None, reward=1))
    assert isinstance(got, Receipt)
    assert got.skipped
    assert steps == []
    assert shared.skipped == 1


def test_a_batch_skips_fallbacks_and_keeps_every_item_in_its_place() -> None:
    shared = terms()
    items: list[dict[str, Any]] = [
        {"request_id": None, "reward": 1},
        {"request_id": "a", "reward": 1},
        {"request_id": "b", "reward": 0, "event_id": "mine"},
    ]
    reply = answer(
        200,
        {
            "accepted": 0,
            "duplicates": 1,
            "rejected": 1,
            "results": [
                {"status": 403, "problem": {"code": "token_forged", "detail": "forged"}},
                {"status": 200, "event_id": "mine", "decision_id": "d", "duplicate": True},
            ],
        },
    )
    got, steps = play(shared, feedback_batch(shared, items), reply)
    assert not isinstance(got, LoopError)
    skipped, forged, known = got.results
    assert skipped == Receipt(skipped=True)
    assert isinstance(forged, TokenForged)
    assert known == Receipt("mine", "d", duplicate=True)
    assert (got.duplicates, got.rejected, got.skipped, shared.skipped) == (1, 1, 1, 1)
    sent = bodies(steps)[0]["items"]
    assert [item["request_id"] for item in sent] == ["a", "b"]
    assert sent[1]["event_id"] == "mine"


def test_a_batch_of_fallbacks_only_needs_no_server() -> None:
    shared = terms()
    got, steps = play(shared, feedback_batch(shared, [{"request_id": None, "reward": 1}]))
    assert not isinstance(got, LoopError)
    assert (got.skipped, len(got.results), steps) == (1, 1, [])


@pytest.mark.parametrize(
    "item",
    [
        {"request_id": "a", "rewrad": 1},
        {"request_id": "a"},
        {"request_id": "a", "reward": "1"},
        {"request_id": 7, "reward": 1},
        {"request_id": "a", "reward": 1, "event_id": object()},
    ],
)
def test_an_item_that_cannot_be_sent_is_refused_alone_in_its_place(item: dict[str, Any]) -> None:
    shared = terms()
    got, steps = play(shared, feedback_batch(shared, [item, {"request_id": None, "reward": 1}]))
    assert not steps
    assert (got.rejected, got.skipped) == (1, 1)
    assert isinstance(got.results[0], LoopError)
    assert got.results[0].status == 422


def test_creating_is_repeated_only_when_it_cannot_have_happened() -> None:
    call = create(terms(), id="greeting", arms=["short", "long"])
    got, steps = play(terms(), call, LOST)
    assert isinstance(got, Unreachable)
    assert len(steps) == 1
    _, steps = play(terms(), call, UNSENT, LATE)
    assert sum(isinstance(step, Send) for step in steps) == 2


def test_creating_and_starting_is_one_call() -> None:
    kept = {"id": "a/b", "tenant_id": "default", "arms": [{"id": "short"}], "state": "draft"}
    call = create(terms(), "a/b", arms=["short"], dimension=3)
    got, steps = play(terms(), call, answer(201, kept), answer(200, kept | {"state": "running"}))
    assert got.state == "running"
    sent = [(step.path, step.body) for step in steps if isinstance(step, Send)]
    assert sent[1] == ("/api/v1/experiments/a%2Fb/start", None)
    assert bodies(steps)[0]["context"] == {"dimension": 3}


@pytest.mark.parametrize(("state", "sent"), [("draft", 3), ("running", 2), ("ended", 2)])
def test_creating_what_may_exist_reads_it_and_starts_a_draft(state: str, sent: int) -> None:
    kept = {"id": "a", "tenant_id": "default", "arms": [{"id": "short"}], "state": state}
    call = create(terms(), "a", arms=["short"], exists_ok=True)
    got, steps = play(
        terms(), call, LOST, problem(409, "conflict"), answer(200, kept), answer(200, kept)
    )
    assert got.state == state
    assert sum(isinstance(step, Send) for step in steps) == sent + 1
    refused, _ = play(terms(), call, problem(422, "invalid"))
    assert isinstance(refused, LoopError)


def test_a_draft_is_left_alone_when_asked() -> None:
    kept = {"id": "a", "tenant_id": "default", "arms": [{"id": "short"}], "state": "draft"}
    got, steps = play(terms(), create(terms(), "a", arms=["short"], start=False), answer(201, kept))
    assert got.state == "draft"
    assert len(steps) == 1


def test_reading_is_repeated_after_anything_that_may_pass() -> None:
    got, _ = play(terms(), list_experiments(terms()), LATE, answer(504), answer(200, {"items": []}))
    assert got.items == ()


def test_a_known_code_becomes_the_same_error_the_server_raised() -> None:
    got, _ = play(
        terms(), feedback(terms(), request_id="t", reward=1), problem(403, "token_forged")
    )
    assert isinstance(got, TokenForged)
    assert got.message == "it is so"


def test_an_unknown_code_becomes_an_api_error_with_the_whole_problem() -> None:
    got, _ = play(
        terms(), feedback(terms(), request_id="t", reward=1), problem(418, "teapot", pot=1)
    )
    assert isinstance(got, ApiError)
    assert got.detail["status"] == 418
    assert got.detail["problem"]["pot"] == 1


def test_an_answer_from_something_else_is_said_to_be_one() -> None:
    page = Reply(404, {}, b"<html>nginx</html>")
    got, _ = play(terms(), select(terms(), experiment_id="x"), page)
    assert isinstance(got, ApiError)
    assert "is this a Loopwright server" in got.message
    assert "nginx" in got.message


def test_a_success_that_cannot_be_read_is_an_error_too() -> None:
    got, _ = play(terms(), select(terms(), experiment_id="x"), Reply(200, {}, b"<html>"))
    assert isinstance(got, ApiError)
    assert "same version" in got.message


def test_a_receipt_without_its_ids_is_not_taken_for_one() -> None:
    got, _ = play(terms(), feedback(terms(), "t", 1), answer(200, {"ok": True}))
    assert isinstance(got, ApiError)
