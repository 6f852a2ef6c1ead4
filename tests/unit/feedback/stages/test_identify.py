from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import SIGNER, THUMB, World

from loopwright.core.feedback import Target
from loopwright.core.ports import Mark
from loopwright.feedback import FeedbackRequest, Intake
from loopwright.feedback.stages import reference


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (THUMB, dict(reversed(THUMB.items()))),
        (THUMB, {"output_id": "o", "customer_id": "u", "thumbs": "up"}),
        (THUMB, {**THUMB, "labels": {"a": "b"}}),
        (
            {"type": "explicit", "user_id": "u", "output_id": "o", "data": {"thumbs": "up"}},
            THUMB,
        ),
        (
            {"original": "a", "corrected": "b", "message_id": "m"},
            {"kind": "correction", "before": "a", "after": "b", "message_id": "m"},
        ),
        ({**THUMB, "event_id": "e"}, {**THUMB, "value": 0, "event_id": "e"}),
    ],
)
def test_the_same_fact_has_the_same_key_whatever_its_shape(
    one: Any, other: Any, world: World
) -> None:
    first = world.take(one)
    world.clock.advance(seconds=100_000)
    again = world.take(other)
    assert first.keys == again.keys
    assert len(first.keys[0]) == 24


@pytest.mark.parametrize(
    "other",
    [
        {**THUMB, "output_id": "p"},
        {**THUMB, "user_id": "v"},
        {**THUMB, "session_id": "s"},
        {**THUMB, "ip_address": "203.0.113.7"},
        {**THUMB, "occurred_at": 1_750_000_000_000},
        {**THUMB, "event_id": "e"},
    ],
)
def test_other_facts_have_other_keys(other: Any, world: World) -> None:
    assert world.take(THUMB).keys != world.take(other).keys


@pytest.mark.parametrize("other", [{**THUMB, "value": 0}, {**THUMB, "message": "more"}])
def test_another_word_of_a_person_has_the_same_key_and_other_content(
    other: Any, world: World
) -> None:
    (one,), (two,) = world.take(THUMB).keys, world.take(other).keys
    assert isinstance(one, Mark)
    assert isinstance(two, Mark)
    assert (one, one.revises) == (two, True)
    assert one.content != two.content


def test_the_same_event_id_of_two_tenants_is_two_facts(world: World) -> None:
    item = {**THUMB, "event_id": "e"}
    other = world.intake.prepare("other", "feedback", [item])
    assert world.take(item).keys != other.keys


def test_signals_that_only_name_their_session_are_told_apart(world: World) -> None:
    item = {"kind": "signal", "name": "copy", "session_id": "s"}
    assert world.take(item).keys != world.take(item).keys
    dated = {**item, "occurred_at": 1_750_000_000_000}
    assert world.take(dated).keys == world.take(dated).keys


def test_an_outcome_has_the_key_of_a_plain_reward(world: World) -> None:
    token = SIGNER.sign(world.decision())
    plain = Intake(SIGNER, find=lambda *_: world.experiment, clock=world.clock, ids=world.ids)
    _, key = plain.accept("acme", FeedbackRequest(token, 1.0))
    item = {"kind": "outcome", "metric": "reward", "value": 1, "request_id": token}
    assert world.take(item).keys == [key]


def test_the_reference_that_wins_is_the_first_that_is_there() -> None:
    assert reference(Target(decision_id="d", trace_id="t")) == ("decision", "d", None)
    assert reference(Target(trace_id="t", span_id="s", output_id="o")) == ("trace", "t", "s")
    assert reference(Target(session_id="s", message_id="m")) == ("message", "s", "m")
    assert reference(Target(session_id="s", output_id="o")) == ("output", "o", None)
    assert reference(Target(session_id="s")) == ("session", "s", None)
