from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import SIGNER, THUMB, World

from loopwright.core.errors import (
    Forbidden,
    RewardInvalid,
    TokenForeign,
    TokenForged,
)
from loopwright.core.feedback import Outcome
from loopwright.core.token import Signer


def test_an_outcome_outside_its_reward_range_is_refused(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": "reward", "value": 0.5, "request_id": token}
    error = world.take(item).refusals[0].error
    assert isinstance(error, RewardInvalid)
    assert world.fact({**item, "metric": "minutes"}).feedback == Outcome("minutes", 0.5)


def test_tokens_that_are_wrong_are_refused_by_their_own_codes(world: World) -> None:
    forged = Signer({1: bytes(32)}, active=1).sign(world.decision())
    foreign = SIGNER.sign(world.decision(tenant_id="other"))
    item = {"kind": "signal", "name": "copy"}
    for token, error in ((forged, TokenForged), (foreign, TokenForeign)):
        assert isinstance(world.take({**item, "request_id": token}).refusals[0].error, error)


def test_another_tenants_event_is_refused(world: World) -> None:
    item = {"type": "query", "message_id": "m", "tenant_id": "other"}
    assert isinstance(world.take(item).refusals[0].error, Forbidden)


def test_a_fact_about_something_unknown_is_kept(world: World) -> None:
    fact = world.fact({**THUMB, "output_id": "never heard of"})
    assert fact.target.output_id == "never heard of"
    assert fact.note.flags == ()


@pytest.mark.parametrize(
    "item",
    [
        {**THUMB, "message": "x" * 1_000_000},
        {"output_id": "o", "thumbs": "up", "comment": "x" * 65_537},
        {"type": "query", "message_id": "m", "data": {"comment": "x" * 1_000_000}},
        {"type": "query", "message_id": "m", "data": {"blob": "x" * 70_000}},
        {"type": "query", "message_id": "m", "extra": {"text": "x" * 1_000_000}},
        {"original": "x" * 65_537, "corrected": "", "message_id": "m"},
    ],
)
def test_a_text_that_is_too_long_is_refused_with_the_limit(item: Any, world: World) -> None:
    error = world.take(item).refusals[0].error
    assert error.status == 422
    assert "65536" in error.message


def test_a_number_no_log_can_hold_spoils_only_its_own_item(world: World) -> None:
    item = {"type": "query", "message_id": "m", "data": {"n": 10**30}}
    prepared = world.take(item, THUMB)
    assert list(prepared.refusals) == [0]
    assert prepared.places == [1]
