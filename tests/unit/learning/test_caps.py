"""One person, session or address teaches an arm so much in a day, and no more."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.learning.world import EAGER, LAZY, TENANT, World, arms, experiment, settle

from loopwright.core.errors import Invalid
from loopwright.core.events import Decided, Fact, Reported, Ticked
from loopwright.core.experiment import Caps
from loopwright.core.feedback import Note, Outcome, Target
from loopwright.learning.advice import advise
from loopwright.learning.group import Group
from loopwright.learning.loop import Learner
from loopwright.trust.policy import TrustPolicy

DAY_S = 86_400


@pytest.fixture
def world():
    made = World(experiment(caps=Caps(per_person=3, per_session=2, per_address=4)))
    yield made
    made.close()


def rewards(world: World, n: int, arm: str = "a", value: float = 1.0, **decision) -> None:
    world.put(*[world.feedback(world.decision(arm, **decision), value) for _ in range(n)])


def skipped(learner: Learner) -> dict[str, int]:
    return learner.status(TENANT, "greeting").skipped


def test_the_usual_caps_are_those_of_the_report():
    policy = TrustPolicy()
    limits = (policy.per_user, policy.per_session, policy.per_address)
    caps = Caps()
    assert (caps.per_person, caps.per_session, caps.per_address) == limits


def test_an_experiment_without_caps_learns_column_by_column():
    assert Group.of(experiment()).traced is None
    assert Group.of(experiment(caps=Caps())).traced == []


def test_plain_rewards_beyond_the_cap_of_their_unit_do_not_train(world):
    learner = world.learner()
    rewards(world, 5, unit_id="eve")
    rewards(world, 2, unit_id="ann", value=0.0)
    rewards(world, 3, "b", unit_id="eve")
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((5, 0.6), (3, 1.0))
    assert skipped(learner) == learner.views.skipped() == {"capped_person": 2}
    assert learner.status(TENANT, "greeting").feedback == 8
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_who_is_not_known_is_not_capped(world):
    learner = world.learner()
    rewards(world, 9)
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (9, {})


@pytest.mark.parametrize(
    ("said", "n", "reason"),
    [
        ({"person": "p"}, 3, "capped_person"),
        ({"session_id": "s"}, 2, "capped_session"),
        ({"address": "1"}, 4, "capped_address"),
        ({"person": "p", "session_id": "s", "address": "1"}, 2, "capped_session"),
    ],
)
def test_ratings_count_for_the_person_the_session_and_the_address(world, said, n, reason):
    learner = world.learner()
    for _ in range(6):
        world.put(*world.rated(world.decision("a"), 1.0, **said))
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (n, {reason: 6 - n})


def test_a_typed_outcome_counts_for_its_person_and_a_person_outranks_the_unit(world):
    learner = world.learner()
    outcome, note = Outcome("reward", 1.0), Note(occurred_at_ms=1, person="p")
    for k in range(5):
        target = Target(world.decision("a", unit_id=f"u{k}"))
        at_ms = world.clock.now_ms()
        world.put(Reported(world.ids(), at_ms, TENANT, target, outcome, note))
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (3, {"capped_person": 2})


def test_a_session_named_in_the_context_is_counted(world):
    learner = world.learner()
    rewards(world, 3, metadata={"session_id": "s"})
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (2, {"capped_session": 1})


def test_a_reward_is_not_taken_for_that_of_the_rating_before_it(world):
    """Only what was computed from a rating is by whom the rating is."""
    learner = world.learner()
    for _ in range(5):
        rating, _ = world.rated(world.decision("b"), 1.0, person="p")
        world.put(rating, world.feedback(world.decision("a", unit_id=world.ids()), 1.0))
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (5, {})


def test_what_one_cap_refuses_uses_up_no_other(world):
    learner = world.learner()
    for person in "pppppqq":
        world.put(*world.rated(world.decision("a"), 1.0, person=person, address="1"))
    settle(learner)
    # Three of p, and the address has one left for q.
    assert arms(learner)["a"][0] == 4
    assert skipped(learner) == {"capped_person": 2, "capped_address": 1}


def test_what_does_not_fit_anyway_uses_up_nothing(world):
    learner = world.learner()
    odd = [world.decision("a", unit_id="ann", mode="holdout"), world.decision("a", unit_id="ann")]
    world.put(world.feedback(odd[0], 1.0), world.feedback(odd[1], 0.5))
    rewards(world, 3, unit_id="ann")
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (3, {"mode": 1, "reward": 1})


@pytest.mark.parametrize("pace", [EAGER, LAZY], ids=["saved", "never saved"])
def test_counts_survive_a_restart_and_end_with_their_day(world, pace):
    learner = world.learner(pace)
    rewards(world, 2, unit_id="eve")
    settle(learner).stop()
    learner = world.learner(pace)
    rewards(world, 2, unit_id="eve")
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (3, {"capped_person": 1})
    world.clock.advance(seconds=DAY_S)
    rewards(world, 4, unit_id="eve")
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (6, {"capped_person": 2})
    learner.stop()
    assert world.database.query("SELECT n FROM spent") == [(3,)]
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_a_derived_reward_names_its_sender_wherever_it_stands_in_the_log(world):
    learner = world.learner()
    for _ in range(5):
        rating, reward = world.rated(world.decision("a"), 1.0, person="p")
        world.put(rating, world.feedback(world.decision("b"), 1.0), reward)
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (3, {"capped_person": 2})


def test_an_older_reward_that_names_nobody_is_by_the_sender_of_the_fact_before_it(world):
    learner = world.learner()
    pairs = [world.rated(world.decision("a"), 1.0, person="p") for _ in range(5)]
    for rating, reward in pairs:
        world.put(rating)
        settle(learner).stop()
        learner = world.learner()
        world.put(replace(reward, who=None))
        settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (3, {"capped_person": 2})
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_a_pause_keeps_to_the_days_of_the_log(world):
    learner = world.learner()
    rewards(world, 3, unit_id="eve")
    settle(learner)
    world.move("paused", learner)
    rewards(world, 2, unit_id="eve")
    world.clock.advance(seconds=DAY_S)
    rewards(world, 2, unit_id="eve")
    settle(learner)
    world.move("running", learner)
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (5, {"capped_person": 2})
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_a_correction_is_free_and_an_outcome_replaces_what_was_expected():
    shaped: dict[str, Any] = {"type": "bounded", "duplicates": "latest", "shaping": "support"}
    world = World(experiment(caps=Caps(per_person=1), **shaped))
    learner = world.learner()
    rated, guessed = world.decision("a", unit_id="ann"), world.decision("b", unit_id="ann")
    for value in (0.1, 0.2, 0.3):
        world.reward(rated, value)
        world.put(world.expected(guessed, value))
    world.reward(guessed, 0.9)
    world.put(world.expected(world.decision("b", unit_id="ann"), 0.5))
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((1, 0.3), (1, 0.9))
    assert skipped(learner) == {"capped_person": 1}
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


@pytest.mark.parametrize("is_default_earned_first", [False, True])
def test_praise_beyond_the_cap_does_not_become_a_default(is_default_earned_first):
    world = World(
        experiment(
            type="bounded",
            duplicates="latest",
            caps=Caps(per_person=1),
            window_s=60.0,
            default=0.0,
        )
    )
    learner = world.learner()
    first, beyond = world.decide("a", unit_id="eve"), world.decide("a", unit_id="eve")
    praise = [world.feedback(decision, 1.0) for decision in (first, beyond)]
    if not is_default_earned_first:
        world.put(*praise)
    world.clock.advance(seconds=61)
    world.tick()
    settle(learner)
    if is_default_earned_first:
        assert arms(learner)["a"] == (2, 0.0)
        world.put(*praise)
        settle(learner)
    assert (arms(learner)["a"], skipped(learner)) == ((1, 1.0), {"capped_person": 1})
    assert learner.status(TENANT, "greeting").defaults == 0
    # Somebody else may still say what the decision earned.
    world.put(*world.rated(beyond, 0.5, person="ann", at_ms=beyond.decided_at_ms))
    settle(learner)
    assert arms(learner)["a"] == (2, 0.75)
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


def test_a_rollback_gives_no_allowance_back(world):
    learner = world.learner()
    kept = learner.take_snapshot(TENANT, "greeting")
    rewards(world, 3, unit_id="eve")
    settle(learner)
    learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    rewards(world, 3, unit_id="eve")
    settle(learner)
    assert (arms(learner)["a"][0], skipped(learner)) == (0, {"capped_person": 3})
    assert learner.dump(TENANT, "greeting") == world.replayed()


def test_advice_says_when_much_lies_beyond_the_caps(world):
    learner = world.learner()
    rewards(world, 63, unit_id="eve")
    rewards(world, 57)
    settle(learner)
    (said,) = [
        advice
        for advice in advise(learner.status(TENANT, "greeting"), world.catalog[TENANT, "greeting"])
        if advice.code == "rewards_capped"
    ]
    assert said.severity == "warning"
    assert said.figures == {"capped": 60, "share": 0.5}
    assert "60 rewards (50.0%)" in said.sentence


# The arms' true rates of success, the best first.
RATES = (0.7, 0.5, 0.4, 0.3, 0.2)
DAYS, HONEST, FLOODERS = 6, 250, 10


def flooded(*, trust: Caps | None, flooders: int, seed: int) -> tuple[float, float, World]:
    """Return regret per honest decision and the error of the best arm's mean, after `DAYS`.

    250 people decide four times a day. Ten accounts, as often as all of them together, praise the worst arm
    and damn the others.
    """
    names = tuple("abcde")
    world = World(experiment(arms=names, caps=trust))
    learner = world.learner()
    rng = random.Random(seed)
    regret = 0.0
    for _ in range(DAYS):
        units = [f"person {k}" for k in range(HONEST)] * 4
        units += [f"flooder {k % FLOODERS}" for k in range(flooders * 100)]
        rng.shuffle(units)
        for start in range(0, len(units), 100):
            published = world.snapshots.get(TENANT, "greeting")
            assert published is not None
            served = published.served
            facts: list[Fact] = []
            for unit_id in units[start : start + 100]:
                draw = served.select(None, rng.random())
                decision = world.decision(names[draw.arm], p=draw.propensity, unit_id=unit_id)
                if unit_id.startswith("person"):
                    value = float(rng.random() < RATES[draw.arm])
                    regret += RATES[0] - RATES[draw.arm]
                else:
                    value = float(draw.arm == len(RATES) - 1)
                facts += [Decided(decision), world.feedback(decision, value)]
            world.put(*facts)
            world.clock.advance(seconds=60)
            settle(learner)
        world.clock.advance(seconds=DAY_S / 2)
        world.put(Ticked(world.clock.now_ms()))
    settle(learner)
    mean = learner.status(TENANT, "greeting").arms[0].mean
    assert mean is not None
    return regret / (DAYS * HONEST * 4), abs(mean - RATES[0]), world


def test_ten_flooding_accounts_steer_a_bandit_without_caps_and_hardly_one_with_them():
    regrets, errors = {}, {}
    for name, trust, flooders in (
        ("nobody", None, 0),
        ("off", None, FLOODERS),
        ("on", Caps(), FLOODERS),
    ):
        regrets[name], errors[name], world = flooded(trust=trust, flooders=flooders, seed=1)
        learner = settle(world.learner())
        assert learner.dump(TENANT, "greeting") == world.replayed()
        assert (skipped(learner).get("capped_person", 0) > 1_000) == (name == "on")
        world.close()
    assert regrets["off"] > 0.4  # of the 0.5 between the best arm and the worst
    assert errors["off"] > 0.25
    assert regrets["on"] < regrets["nobody"] + 0.03
    assert errors["on"] < errors["nobody"] + 0.05


def test_caps_of_nothing_are_refused():
    from loopwright.catalog.rules import normal

    with pytest.raises(Invalid, match="per_person"):
        normal(experiment(caps=Caps(per_person=0)))
