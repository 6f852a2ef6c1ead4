from __future__ import annotations

import random
from typing import Any

import pytest

from loopwright.core.decision import Decision
from loopwright.core.errors import (
    LoopError,
    NotFound,
    RewardInvalid,
    TokenExpired,
    TokenForeign,
    TokenForged,
    TokenKeyRetired,
    TokenMalformed,
)
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.core.ports import Mark
from loopwright.core.reward import RewardSpec
from loopwright.core.token import Signer
from loopwright.feedback import FeedbackRequest, Intake
from loopwright.testing import ManualClock

KEY = bytes(range(32))
CLOCK = ManualClock()
NEW_ID = Ids(CLOCK, random.Random(3))
SIGNER = Signer({1: KEY}, active=1)


def intake(signer: Signer = SIGNER, **reward: Any) -> Intake:
    experiment = Experiment(
        id="greeting", tenant_id="acme", arms=(Arm(id="a"),), reward=RewardSpec(**reward)
    )

    def find(tenant_id: str, experiment_id: str) -> Experiment:
        if (tenant_id, experiment_id) != ("acme", "greeting"):
            raise NotFound("no such experiment")
        return experiment

    return Intake(signer, find=find, clock=CLOCK, ids=NEW_ID)


def decision(**changes: Any) -> Decision:
    shape: dict[str, Any] = {
        "id": NEW_ID(),
        "tenant_id": "acme",
        "experiment_id": "greeting",
        "arm_id": "a",
        "propensity": 0.5,
        "snapshot": 1,
        "decided_at_ms": CLOCK.now_ms(),
    }
    return Decision(**{**shape, **changes})


def token(signer: Signer = SIGNER, **changes: Any) -> str:
    return signer.sign(decision(**changes))


def test_a_reward_becomes_a_fact_with_the_decision_in_it() -> None:
    made = decision(vector=b"\0" * 16)
    fact, key = intake().accept("acme", FeedbackRequest(SIGNER.sign(made), 1.0))
    assert fact.decision == made
    assert fact.feedback == Outcome("reward", 1.0)
    assert fact.at_ms == CLOCK.now_ms()
    assert len(key) == 24
    assert key.startswith(bytes.fromhex(made.id))


def test_in_mode_first_every_reward_of_a_decision_is_the_same_fact() -> None:
    request_id = token()
    keys = {
        intake().accept("acme", FeedbackRequest(request_id, reward, "reward", event_id))[1]
        for reward, event_id in [(1.0, "a"), (0.0, "b"), (1.0, None)]
    }
    assert len(keys) == 1


@pytest.mark.parametrize("mode", ["latest", "add"])
def test_in_the_other_modes_the_event_id_tells_facts_apart(mode: str) -> None:
    request_id = token()
    accept = intake(duplicates=mode).accept
    again = {accept("acme", FeedbackRequest(request_id, 1.0, "reward", "e1"))[1] for _ in range(2)}
    other = accept("acme", FeedbackRequest(request_id, 1.0, "reward", "e2"))[1]
    assert len(again) == 1
    assert other not in again


def test_without_an_event_id_each_reward_adds_up_and_the_latest_is_repeated() -> None:
    def keys(mode: str, *values: float) -> list[bytes]:
        accept = intake(duplicates=mode).accept
        return [accept("acme", FeedbackRequest(request_id, value))[1] for value in values]

    request_id = token()
    assert len(set(keys("add", 1.0, 1.0))) == 2
    one, again, other = keys("latest", 1.0, 1.0, 0.0)
    assert isinstance(one, Mark)
    assert isinstance(again, Mark)
    assert isinstance(other, Mark)
    assert one == again == other
    assert one.revises
    assert one.content == again.content != other.content


def test_metrics_of_one_decision_are_different_facts() -> None:
    request_id = token()
    one = intake().accept("acme", FeedbackRequest(request_id, 1.0))[1]
    two = intake().accept("acme", FeedbackRequest(request_id, 812.0, "latency_ms"))[1]
    assert one != two


@pytest.mark.parametrize(
    ("spec", "reward"),
    [
        ({}, 0.5),
        ({}, 2.0),
        ({}, float("nan")),
        ({"type": "bounded"}, 1.5),
        ({"type": "bounded"}, float("inf")),
        ({"type": "bounded", "low": -1.0}, -1.5),
        ({"type": "continuous"}, 1e300),
    ],
)
def test_a_reward_that_does_not_fit_is_refused(spec: dict[str, Any], reward: float) -> None:
    with pytest.raises(RewardInvalid):
        intake(**spec).accept("acme", FeedbackRequest(token(), reward))


def test_a_reward_beyond_the_range_is_kept_raw_when_it_is_to_be_clipped() -> None:
    fact, _ = intake(type="bounded", out_of_range="clip").accept(
        "acme", FeedbackRequest(token(), 7.0)
    )
    assert fact.feedback.value == 7.0


def test_another_metric_must_be_a_finite_number() -> None:
    with pytest.raises(RewardInvalid, match="latency"):
        intake().accept("acme", FeedbackRequest(token(), float("nan"), "latency"))


def test_each_way_a_token_can_be_wrong_has_its_own_code() -> None:
    old = Signer({2: bytes(32)}, active=2)
    impostor = Signer({1: bytes(32)}, active=1)
    cases: list[tuple[str, str, type[LoopError]]] = [
        ("acme", "nonsense", TokenMalformed),
        ("acme", token(impostor), TokenForged),
        ("acme", token(old), TokenKeyRetired),
        ("rival", token(), TokenForeign),
        ("acme", token(experiment_id="gone"), NotFound),
    ]
    for tenant_id, request_id, error in cases:
        with pytest.raises(error):
            intake().accept(tenant_id, FeedbackRequest(request_id, 1.0))
    assert len({error.code for _, _, error in cases}) == len(cases)


def test_an_old_token_expires_only_where_a_maximum_age_is_set() -> None:
    request_id = token(decided_at_ms=CLOCK.now_ms() - 86_400_000)
    assert intake().accept("acme", FeedbackRequest(request_id, 1.0))
    strict = Signer({1: KEY}, active=1, max_age_s=3600)
    with pytest.raises(TokenExpired):
        intake(strict).accept("acme", FeedbackRequest(request_id, 1.0))


def test_no_message_names_the_part_that_differs() -> None:
    cut = token()[:-4]
    for request_id in (cut, token(Signer({1: bytes(32)}, active=1))):
        with pytest.raises(LoopError) as caught:
            intake().accept("acme", FeedbackRequest(request_id, 1.0))
        assert not set(caught.value.message.lower().split()) & {"mac", "hmac", "payload", "secret"}


def test_a_reward_without_a_metric_carries_the_experiments_own() -> None:
    taking = intake(metric="resolved")
    made = token()
    fact, key = taking.accept("acme", FeedbackRequest(made, 1.0))
    named, same_key = taking.accept("acme", FeedbackRequest(made, 1.0, "resolved"))
    assert (fact.feedback.metric, key) == (named.feedback.metric, same_key)
    assert taking.flags_of(fact) == ()


def test_a_foreign_metric_is_kept_and_flagged() -> None:
    taking = intake(metric="resolved")
    fact, _ = taking.accept("acme", FeedbackRequest(token(), 1.0, "reward"))
    assert fact.feedback.metric == "reward"
    assert taking.flags_of(fact) == ("foreign_metric",)
