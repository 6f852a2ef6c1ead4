"""What a decision is expected to earn teaches until the outcome is known, and leaves nothing behind."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.unit.learning.world import TENANT, World, arms, experiment, settle

from loopwright.core.events import Decided, Expected, Fact, Received, Reported, Ticked
from loopwright.core.feedback import Note, Outcome, Target
from loopwright.core.reward import Observed, RewardSpec, derive
from loopwright.learning.advice import advise
from loopwright.learning.loop import Learner
from loopwright.people.consent import checked

SHAPED: dict[str, Any] = {"type": "bounded", "duplicates": "latest", "shaping": "support"}
RATES = {"a": 0.2, "b": 0.45, "c": 0.7}
ROUNDS, PER_ROUND, DELAY = 30, 12, 20


@pytest.fixture
def world():
    made = World(experiment(**SHAPED))
    yield made
    made.close()


@pytest.fixture
def windowed():
    made = World(experiment(**SHAPED, window_s=60.0, default=0.25))
    yield made
    made.close()


def figures(learner) -> tuple[int, int, int]:
    status = learner.status(TENANT, "greeting")
    return status.expected, status.expectations, status.feedback


def test_an_expectation_teaches_until_the_outcome_replaces_it(world):
    learner = world.learner()
    decision = world.decide("a")
    world.put(world.expected(decision, 0.8))
    settle(learner)
    assert (arms(learner)["a"], figures(learner)) == ((1, 0.8), (1, 1, 0))
    world.reward(decision, 0.0)
    settle(learner)
    assert (arms(learner)["a"], figures(learner)) == ((1, 0.0), (0, 1, 1))
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_an_expectation_of_what_is_known_is_counted_and_changes_nothing(world):
    learner = world.learner()
    decision = world.decide("a")
    world.reward(decision, 1.0)
    world.put(world.expected(decision, 0.1))
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)
    assert learner.status(TENANT, "greeting").skipped == {"settled": 1}
    assert learner.views.skipped() == {"settled": 1}


def test_a_newer_expectation_replaces_an_older_one(world):
    learner = world.learner()
    decision = world.decision("a")  # its row was shed; the expectation carries what learning needs
    for value in (0.2, 0.9, 0.6):
        world.put(world.expected(decision, value))
        settle(learner).stop()
        learner = world.learner()
    assert (arms(learner)["a"], figures(learner)) == ((1, 0.6), (1, 3, 0))
    assert learner.views.expected() == {(TENANT, "greeting"): 1}
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_a_typed_outcome_replaces_the_expectation_unless_it_must_not_train(world):
    learner = world.learner()
    decision = world.decide("a")
    world.put(world.expected(decision, 0.8))
    for consent, found in ((("store", "analyze"), 0.8), (("store", "train"), 0.0)):
        note = Note(occurred_at_ms=1, consent=checked(consent))
        at_ms = world.clock.now_ms()
        outcome = Outcome("reward", 0.0)
        world.put(Reported(world.ids(), at_ms, TENANT, Target(decision), outcome, note))
        settle(learner)
        assert arms(learner)["a"] == (1, found)


def test_the_default_settles_what_was_expected_when_the_window_ends(windowed):
    learner = windowed.learner()
    logged, shed = windowed.decide("a"), windowed.decision("b")
    windowed.put(windowed.expected(logged, 0.9), windowed.expected(shed, 0.9))
    settle(learner).stop()
    learner = settle(windowed.learner())
    assert (arms(learner)["a"], arms(learner)["b"]) == ((1, 0.9), (1, 0.9))
    windowed.clock.advance(seconds=61)
    windowed.tick()
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((1, 0.25), (1, 0.25))
    assert figures(learner) == (0, 2, 0)
    assert learner.status(TENANT, "greeting").defaults == 2
    windowed.put(windowed.expected(logged, 0.7))
    settle(learner)
    assert arms(learner)["a"] == (1, 0.25)
    assert learner.status(TENANT, "greeting").skipped == {"settled": 1}
    assert learner.dump(TENANT, "greeting") == windowed.replayed()


def test_an_outcome_inside_the_window_leaves_no_default_behind(windowed):
    learner = windowed.learner()
    decision = windowed.decide("a")
    windowed.put(windowed.expected(decision, 0.9))
    windowed.clock.advance(seconds=30)
    windowed.reward(decision, 1.0)
    windowed.clock.advance(seconds=60)
    windowed.tick()
    settle(learner)
    status = learner.status(TENANT, "greeting")
    assert arms(learner)["a"] == (1, 1.0)
    assert (status.expected, status.defaults, status.feedback) == (0, 0, 1)


def test_a_rollback_takes_expectations_back_and_seals_those_it_leaves(windowed):
    learner = windowed.learner()
    before, after = windowed.decide("a"), windowed.decide("b")
    windowed.put(windowed.expected(before, 0.9))
    settle(learner)
    kept = learner.take_snapshot(TENANT, "greeting")
    windowed.put(windowed.expected(after, 0.9))
    settle(learner)
    assert figures(learner)[0] == 2
    learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    settle(learner)
    assert figures(learner)[0] == 1
    windowed.reward(before, 0.0)
    windowed.put(windowed.expected(after, 0.3))
    windowed.clock.advance(seconds=61)
    windowed.tick()
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((1, 0.9), (0, None))
    assert learner.status(TENANT, "greeting").skipped == {"rolled_back": 2}
    assert learner.dump(TENANT, "greeting") == windowed.replayed()


def test_what_does_not_fit_is_counted_by_reason():
    world = World(experiment(**SHAPED), experiment("plain", type="bounded", duplicates="latest"))
    learner = world.learner()
    world.put(
        world.expected(world.decision("a"), 0.5, metric="other"),
        world.expected(world.decision("gone"), 0.5),
        world.expected(world.decision("a", mode="holdout"), 0.5),
        world.expected(world.decision("a"), float("nan")),
        world.expected(world.decision("a", id="plain"), 0.5),
    )
    settle(learner)
    found = learner.status(TENANT, "greeting")
    assert found.skipped == {"arm": 1, "metric": 1, "mode": 1, "reward": 1}
    assert learner.status(TENANT, "plain").skipped == {"metric": 1}
    assert learner.views.expected() == {(TENANT, "greeting"): 0}
    world.close()


def test_an_experiment_without_a_memory_passes_expectations_over():
    world = World(experiment())
    learner = world.learner()
    world.put(world.expected(world.decide("a"), 0.5))
    settle(learner)
    assert arms(learner)["a"] == (0, None)
    assert learner.offset == 3
    world.close()


def test_advice_tells_predictions_from_outcomes(world):
    learner = world.learner()
    decisions = [world.decide("a") for _ in range(200)]
    settle(learner)
    spec = world.catalog[TENANT, "greeting"]
    said = {a.code: a.sentence for a in advise(learner.status(TENANT, "greeting"), spec)}
    assert "loopwright calibrate" in said["shaping_without_effect"]
    world.put(world.expected(decisions[0], 0.8))
    world.reward(decisions[1], 0.0)
    settle(learner)
    status = learner.status(TENANT, "greeting")
    said = {a.code: a.sentence for a in advise(status, spec)}
    assert said["rewards_expected"].startswith("1 of 2 rewards are not outcomes")
    assert "shaping_without_effect" not in said
    assert (status.whole, status.feedback_rate) == (1, 1 / 200)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"shaping": "support"}, "declare the reward 'bounded'"),
        ({"type": "bounded", "shaping": "support"}, "duplicates 'latest', not 'first'"),
        (
            {"type": "bounded", "duplicates": "add", "shaping": "support"},
            "the true outcome has to replace the expectation",
        ),
        ({**SHAPED, "shaping": ""}, "name the task"),
    ],
)
def test_a_reward_that_cannot_be_shaped_is_refused(spec, says):
    with pytest.raises(ValueError, match=says):
        RewardSpec(**spec)


def test_derive_prefers_what_was_observed_then_the_default_then_what_is_expected():
    spec = RewardSpec(**SHAPED, window_s=60.0, default=0.25)
    ask: dict[str, Any] = {"decided_at_ms": 0, "expected": [Observed(0.4, 1), Observed(0.6, 2)]}
    guess = derive(spec, **ask, facts=[], now_ms=10)
    assert guess is not None
    assert (guess.value, guess.is_expected, guess.by_default) == (0.6, True, False)
    observed = derive(spec, **ask, facts=[Observed(0.0, 5)], now_ms=10)
    assert observed is not None
    assert observed.value == 0.0
    late = derive(spec, **ask, facts=[], now_ms=60_001)
    assert late is not None
    assert late.by_default
    plain = RewardSpec(type="bounded", duplicates="latest")
    assert derive(plain, **ask, facts=[], now_ms=10) is None


def run(*, shaped: bool, seed: int) -> tuple[World, list[float]]:
    """Serve, with outcomes `DELAY` rounds late and their expectation one round late; return what each round earned.

    What people do tells much of the outcome, not all: 0.75 is expected when it will be 1, in four of five cases.
    """
    world = World(experiment(**(SHAPED if shaped else {**SHAPED, "shaping": None})))
    learner = world.learner()
    rng = random.Random(seed)
    later: list[tuple[int, Expected | Received]] = []
    earned = []
    for now in range(ROUNDS + DELAY):
        total = 0.0
        due: list[Fact] = [fact for when, fact in later if when == now]
        later = [item for item in later if item[0] != now]
        published = world.snapshots.get(TENANT, "greeting")
        assert published is not None
        served = published.served
        for _ in range(PER_ROUND if now < ROUNDS else 0):
            draw = served.select(None, rng.random())
            decision = world.decision("abc"[draw.arm], p=draw.propensity)
            outcome = float(rng.random() < RATES[decision.arm_id])
            tells = rng.random() < 0.8
            total += outcome
            due.append(Decided(decision))
            guess = world.expected(decision, 0.75 if tells == bool(outcome) else 0.25)
            if shaped:
                later.append((now + 1, guess))
            later.append((now + DELAY, world.feedback(decision, outcome)))
        world.clock.advance(seconds=1)
        world.put(*due, Ticked(world.clock.now_ms()))
        settle(learner)
        earned.append(total)
    return world, earned


def test_with_shaping_it_learns_long_before_the_first_outcome_and_ends_in_the_same_state():
    early = {True: 0.0, False: 0.0}
    for seed in range(4):
        for shaped in (True, False):
            world, earned = run(shaped=shaped, seed=seed)
            early[shaped] += sum(earned[5:DELAY])
            learner = settle(world.learner())
            status = learner.status(TENANT, "greeting")
            assert (status.expected, status.feedback) == (0, ROUNDS * PER_ROUND)
            assert learner.dump(TENANT, "greeting") == world.replayed()
            if shaped:
                assert status.expectations == ROUNDS * PER_ROUND
                assert digest(learner) == digest_without_expectations(world)
            world.close()
    possible = 4 * (DELAY - 5) * PER_ROUND
    # No outcome is known in these rounds: without shaping nobody can do better than at random.
    assert early[False] / possible == pytest.approx(0.45, abs=0.05)
    assert early[True] / possible > 0.58


def digest(learner: Learner) -> str:
    return learner.take_snapshot(TENANT, "greeting").digest


def digest_without_expectations(world: World) -> str:
    """What the same decisions and outcomes teach where nothing is ever expected."""
    other = World(experiment(**{**SHAPED, "shaping": None}))
    facts = [fact for _, fact in world.reader.facts(0, limit=100_000)]
    other.put(*[fact for fact in facts if not isinstance(fact, Expected)])
    found = digest(settle(other.learner()))
    other.close()
    return found
