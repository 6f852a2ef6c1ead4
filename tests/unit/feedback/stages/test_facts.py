from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.feedback.world import SIGNER, STARS, THUMB, World

from loopwright.core.events import Received, Reported
from loopwright.core.feedback import Outcome, Who
from loopwright.feedback import FeedbackRequest, Intake


@pytest.fixture
def rated() -> Iterator[World]:
    made = World(metric="rating", type="bounded")
    yield made
    made.close()


def test_a_rating_of_a_decision_is_followed_by_the_reward_it_amounts_to(rated: World) -> None:
    decision = rated.decision()
    prepared = rated.take({**STARS, "request_id": SIGNER.sign(decision)}, THUMB)
    said, reward, other = prepared.facts
    assert isinstance(said, Reported)
    assert isinstance(other, Reported)
    assert reward == Received(
        said.event_id,
        rated.clock.now_ms(),
        decision,
        Outcome("rating", 0.75),
        derived=True,
        who=Who(),
    )
    assert prepared.places == [0, 0, 1]
    plain = Intake(SIGNER, find=lambda *_: rated.experiment, clock=rated.clock, ids=rated.ids)
    _, key = plain.accept("acme", FeedbackRequest(SIGNER.sign(decision), 1.0, "rating"))
    assert prepared.keys[1] == key


def test_a_signal_is_a_reward_only_under_its_experiments_metric() -> None:
    world = World(metric="copy")
    item = {"kind": "signal", "name": "copy", "request_id": SIGNER.sign(world.decision())}
    assert len(world.take(item).facts) == 2
    assert len(world.take({**item, "name": "export"}).facts) == 1
    assert len(world.take({"kind": "signal", "name": "copy", "output_id": "o"}).facts) == 1
    world.close()


def test_an_outcome_needs_no_reward_beside_it(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": "reward", "value": 1, "request_id": token}
    assert len(world.take(item).facts) == 1


def test_what_no_reward_can_be_is_kept_and_flagged() -> None:
    world = World(metric="rating")  # binary: four stars are neither 0 nor 1
    fact = world.fact({**STARS, "request_id": SIGNER.sign(world.decision())})
    assert fact.note.flags == ("reward_out_of_range",)
    assert len(world.take({**STARS, "request_id": SIGNER.sign(world.decision())}).facts) == 1
    assert (
        len(world.take({**STARS, "value": 5, "request_id": SIGNER.sign(world.decision())}).facts)
        == 2
    )
    world.close()


@pytest.mark.parametrize(("metric", "flags"), [("reward", ()), ("sold", ("foreign_metric",))])
def test_an_outcome_of_a_metric_that_its_experiment_does_not_learn_from_is_flagged(
    world: World, metric: str, flags: tuple[str, ...]
) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": metric, "value": 1}
    assert world.fact({**item, "request_id": token}).note.flags == flags
    # Nothing says which experiment an outcome without a decision is for.
    assert world.fact({**item, "output_id": "o"}).note.flags == ()
    call = {"request_id": token, "id": "call", "outcomes": [{"name": metric, "value": 1}]}
    inner = world.take(call, path="interaction").facts[1]
    assert isinstance(inner, Reported)
    assert inner.note.flags == flags


def test_nobody_trains_who_does_not_allow_it(rated: World) -> None:
    item = {**STARS, "user_id": "u", "request_id": SIGNER.sign(rated.decision())}
    assert len(rated.take({**item, "consent": ["store", "analyze"]}).facts) == 1
    assert len(rated.take(item).facts) == 2
    rated.people.consent("acme", rated.people.find("acme", "u").id, ("store",))
    assert len(rated.take(item).facts) == 1


def test_an_outcome_carries_the_consent_of_its_person_because_it_is_learned_from_the_log(
    world: World,
) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": "reward", "value": 1, "user_id": "u", "request_id": token}
    outcomes = [{"name": "reward", "value": 1}]
    call = {"request_id": token, "id": "call", "user_id": "u", "outcomes": outcomes}
    assert "train" in world.fact(item).note.consent
    person = world.people.find("acme", "u").id
    world.people.consent("acme", person, ("store", "analyze"))
    inner = world.take(call, path="interaction").facts[1]
    assert isinstance(inner, Reported)
    assert (world.fact(item).note.consent, inner.note.consent) == (("store", "analyze"),) * 2
    # A person's own consent overrides that of the fact the other way, too.
    world.people.consent("acme", person, ("store", "train"))
    assert "train" in world.fact({**item, "consent": ["store"]}).note.consent


def test_feedback_inside_an_interaction_is_a_reward_too(rated: World) -> None:
    decision = rated.decision()
    item = {
        "request_id": SIGNER.sign(decision),
        "id": "call",
        "feedback": [{"type": "rating", "value": 5}],
        "outcomes": [{"name": "rating", "value": 1}],
    }
    prepared = rated.take(item, path="interaction")
    assert [type(fact).__name__ for fact in prepared.facts] == [
        "Interacted",
        "Reported",
        "Received",
        "Reported",
    ]
    reward = prepared.facts[2]
    assert isinstance(reward, Received)
    assert reward.feedback == Outcome("rating", 1.0)
    assert prepared.keys[2] == prepared.keys[3]
