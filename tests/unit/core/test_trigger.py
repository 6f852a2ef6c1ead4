from __future__ import annotations

import msgspec
import pytest

from loopwright.core.trigger import Command, NewTrigger, Retrain, Schedule, Webhook


def test_a_trigger_is_read_by_the_kinds_of_its_condition_and_actions() -> None:
    body = b"""{"id": "t", "condition": {"kind": "schedule", "every_s": 3600},
        "actions": [{"kind": "webhook", "url": "https://a.example"}, {"kind": "command", "name": "c"}]}"""
    found = msgspec.json.decode(body, type=NewTrigger)
    assert found.condition == Schedule(every_s=3600)
    assert found.actions == (Webhook(url="https://a.example"), Command(name="c"))
    assert (found.window_days, found.cool_down_s) == (7.0, 86_400)


def test_the_defaults_of_the_rule_are_those_of_check_trigger() -> None:
    from loopwright.rollout.triggers import DEFAULT

    rule = Retrain()
    assert (rule.least_records, rule.least_rating, rule.most_thumbs_down) == (
        DEFAULT.least_records,
        DEFAULT.least_rating,
        DEFAULT.most_thumbs_down,
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "t", "condition": {"kind": "moon"}}',
        '{"id": "t", "condition": {"kind": "schedule", "every_s": 59}}',
        '{"id": "t", "condition": {"kind": "retrain", "surprise": 1}}',
        '{"id": "t", "condition": {"kind": "retrain"}, "window_days": 367}',
        '{"id": "t", "condition": {"kind": "retrain"}, "actions": [{"kind": "shell"}]}',
        '{"id": "t"}',
    ],
    ids=["kind", "too often", "member", "window", "action", "no condition"],
)
def test_what_a_trigger_cannot_be_is_refused(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=NewTrigger)
