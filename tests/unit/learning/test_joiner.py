from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.learning.world import EAGER, LAZY, TENANT, World, arms, experiment, pack, settle

from loopwright.core.events import Decided, Expected, Fact, Received, Ticked
from loopwright.core.experiment import Caps
from loopwright.core.reward import Observed, derive

SPECS = {
    "first": experiment(),
    "clipped": experiment(type="bounded", out_of_range="rescale", low=-1.0, high=2.0),
    "latest": experiment(type="bounded", duplicates="latest"),
    "add": experiment(type="continuous", duplicates="add"),
    "window": experiment(window_s=60.0, default=0.0),
    "window, latest": experiment(type="bounded", duplicates="latest", window_s=60.0, default=0.25),
    "window, add": experiment(
        type="bounded", high=5.0, duplicates="add", window_s=60.0, default=0.0
    ),
    "linear": experiment(policy="LinUCB", type="bounded", context=2),
    "linear, window": experiment(
        policy="LinUCB", type="bounded", context=2, intercept=False, window_s=60.0, default=0.0
    ),
    "weighted": experiment(policy="EXP3", type="bounded", duplicates="latest"),
    "shaped": experiment(type="bounded", duplicates="latest", shaping="support"),
    "shaped, window": experiment(
        type="bounded", duplicates="latest", shaping="support", window_s=60.0, default=0.25
    ),
    "shaped, weighted": experiment(
        policy="EXP3", type="bounded", duplicates="latest", shaping="support"
    ),
    "capped": experiment(caps=Caps(per_person=3, per_session=2, per_address=4)),
    "capped, window": experiment(caps=Caps(per_person=2), window_s=60.0, default=0.0),
    "capped, shaped": experiment(
        caps=Caps(per_person=2, per_session=3),
        type="bounded",
        duplicates="latest",
        shaping="support",
        window_s=60.0,
        default=0.25,
    ),
}


def history(world: World, rng: random.Random) -> list[Any]:
    """Facts of many decisions, some unlogged, with feedback late, repeated and before its decision.

    Where the reward is shaped, some are expected to earn something, once or more, in any order with the rest.
    """
    spec = world.catalog[TENANT, "greeting"].reward
    is_capped = world.catalog[TENANT, "greeting"].caps is not None
    facts: list[tuple[int, float, Fact]] = []
    start = world.clock.now_ms()
    for _ in range(rng.randrange(5, 40)):
        at_ms = start + rng.randrange(600_000)
        decision = world.decision(
            rng.choice(["a", "b", "c", "c", "gone"]),
            p=rng.choice([0.1, 0.25, 0.5, 1.0]),
            decided_at_ms=at_ms,
            vector=rng.choice([pack(rng.random(), -3.0), pack(rng.random(), 0.5), pack(1.0)]),
            mode=rng.choice(["live", "live", "live", "holdout"]),
            unit_id=rng.choice([None, "ann", "eve"]) if is_capped else None,
        )
        if rng.random() < 0.9:
            facts.append((at_ms, rng.random(), Decided(decision)))
        for _ in range(1 if spec.duplicates == "first" else rng.randrange(4)):
            received_ms = max(at_ms + rng.randrange(-20, 90_000), 0)
            value = rng.choice([0.0, 1.0] if spec.type == "binary" else [0.0, 0.1, 0.7, 1.5, -2.0])
            order = rng.random()
            if is_capped and rng.random() < 0.6:
                who = {name: rng.choice([None, *"xyz"]) for name in ("person", "address")}
                session_id = rng.choice([None, "s", "t"])
                pair = world.rated(decision, value, at_ms=received_ms, session_id=session_id, **who)
                facts += [(received_ms, order, fact) for fact in pair]
                continue
            fact = world.feedback(decision, value)
            facts.append(
                (received_ms, order, Received(fact.event_id, received_ms, *fact_tail(fact)))
            )
        for _ in range(0 if spec.shaping is None else rng.randrange(3)):
            said_ms = at_ms + rng.randrange(90_000)
            value = rng.choice([0.05, 0.4, 0.9, 1.2])
            facts.append((said_ms, rng.random(), world.expected(decision, value, at_ms=said_ms)))
    at_ms = start + rng.randrange(900_000)
    facts.append((at_ms, 1.0, Ticked(at_ms + 300_000)))
    return [fact for _, _, fact in sorted(facts, key=lambda item: item[:2])]


def fact_tail(fact: Received):
    return fact.decision, fact.feedback


@pytest.mark.parametrize("name", SPECS)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8))
# The default takes the place of an expectation, then feedback comes from a sender whose allowances are used up by then.
@example(seed=2050, cuts=[1])
@settings(max_examples=8)
def test_any_batches_restarts_and_a_replay_give_the_same_state_and_counts(name, seed, cuts):
    world, other = World(SPECS[name]), World(SPECS[name])
    facts = history(world, random.Random(seed))
    other.put(*facts)
    whole = settle(other.learner())
    pace = EAGER
    learner = world.learner(pace)
    rng = random.Random(seed)
    start = 0
    while start < len(facts):
        size = rng.choice(cuts)
        world.put(*facts[start : start + size])
        start += size
        settle(learner)
        if rng.random() < 0.2:
            learner.stop()
        if rng.random() < 0.3:
            pace = rng.choice([LAZY, pace])
            learner = world.learner(pace)
    settle(learner)
    assert learner.dump(TENANT, "greeting") == whole.dump(TENANT, "greeting") == world.replayed()
    world.close()
    other.close()


@pytest.mark.parametrize("name", [n for n in SPECS if "linear" not in n and "capped" not in n])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8)
def test_the_learner_agrees_with_the_reward_function_decision_by_decision(name, seed):
    world = World(SPECS[name])
    facts = history(world, random.Random(seed))
    # Every window is over at the end: the figures would count what still waits in part.
    facts.append(Ticked(max(fact.at_ms for fact in facts) + 60_001))
    world.put(*facts)
    learner = settle(world.learner())
    assert arms(learner) == expected(world, facts)
    world.close()


def expected(world: World, facts: list[Any]) -> dict[str, tuple[int, float | None]]:
    """What `core.reward.derive` says about each decision, put together by arm."""
    spec = world.catalog[TENANT, "greeting"].reward
    now_ms = max(fact.at_ms for fact in facts)
    decisions: dict[str, Any] = {}
    observed: dict[str, list[Observed]] = {}
    supposed: dict[str, list[Observed]] = {}
    is_logged: set[str] = set()
    latest_ms = 0
    for fact in facts:
        latest_ms = max(latest_ms, fact.at_ms)
        if isinstance(fact, Ticked) or fact.decision.mode != "live":
            continue
        decisions[fact.decision.id] = fact.decision
        if isinstance(fact, Decided):
            is_logged.add(fact.decision.id)
        elif isinstance(fact, Expected):
            # One that the log brings after the window's end says nothing any more.
            if spec.window_s is None or latest_ms <= fact.decision.decided_at_ms + 60_000:
                is_logged.add(fact.decision.id)
                supposed.setdefault(fact.decision.id, []).append(
                    Observed(fact.feedback.value, fact.at_ms)
                )
        else:
            observed.setdefault(fact.decision.id, []).append(
                Observed(fact.feedback.value, fact.at_ms)
            )
    rewards: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for id, decision in decisions.items():
        reward = derive(
            spec,
            decided_at_ms=decision.decided_at_ms,
            facts=observed.get(id, []),
            expected=supposed.get(id, []),
            now_ms=now_ms,
        )
        is_known = id in is_logged or (reward is not None and not reward.by_default)
        if reward is not None and is_known and decision.arm_id in rewards:
            rewards[decision.arm_id].append(reward.value)
    return {
        arm: (len(earned), round(math.fsum(earned) / len(earned), 6) if earned else None)
        for arm, earned in rewards.items()
    }


@pytest.fixture
def windowed():
    made = World(experiment(window_s=60.0, default=0.0))
    yield made
    made.close()


def test_a_window_without_feedback_earns_the_default_when_event_time_passes_it(windowed):
    learner = windowed.learner()
    windowed.decide("a")
    windowed.clock.advance(seconds=60)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (0, 0.0)  # the window's last millisecond still counts
    assert learner.status(TENANT, "greeting").arms[0].pending == 1
    windowed.clock.advance(seconds=0.001)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (1, 0.0)
    assert learner.status(TENANT, "greeting").defaults == 1
    assert windowed.snapshots.get(TENANT, "greeting").offset == 4


def test_feedback_inside_the_window_counts_and_after_it_is_late(windowed):
    learner = windowed.learner()
    timely, tardy = windowed.decide("a"), windowed.decide("b")
    windowed.clock.advance(seconds=60)
    windowed.reward(timely, 1.0)
    windowed.clock.advance(seconds=1)
    windowed.reward(tardy, 1.0)
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((1, 1.0), (1, 0.0))
    assert learner.status(TENANT, "greeting").skipped == {"late": 1}


def test_an_open_window_survives_a_restart(windowed):
    learner = windowed.learner()
    windowed.decide("a")
    settle(learner).stop()
    windowed.clock.advance(seconds=61)
    windowed.tick()
    learner = settle(windowed.learner())
    assert arms(learner)["a"] == (1, 0.0)
    assert learner.dump(TENANT, "greeting") == windowed.replayed()


def test_feedback_that_reaches_the_log_out_of_order_takes_the_default_back(windowed):
    learner = windowed.learner()
    decision = windowed.decide("a")
    windowed.clock.advance(seconds=30)
    fact = windowed.feedback(decision, 1.0)
    windowed.clock.advance(seconds=31)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (1, 0.0)
    windowed.put(fact)
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)
    assert learner.dump(TENANT, "greeting") == windowed.replayed()


def test_feedback_before_its_decision_is_counted_once(windowed):
    learner = windowed.learner()
    decision = windowed.decision("a")
    windowed.reward(decision, 1.0)
    settle(learner)
    windowed.put(Decided(decision))
    windowed.clock.advance(seconds=120)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)


def test_windows_hold_when_the_clock_is_set_back(windowed):
    learner = windowed.learner()
    windowed.tick()
    windowed.clock.advance(seconds=-3600)
    decision = windowed.decide("a")
    settle(learner)
    assert arms(learner)["a"] == (1, 0.0)  # by the log's time the window is long over
    windowed.clock.advance(seconds=10)
    windowed.reward(decision, 1.0)
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)  # by the decision's own time it was not


def test_a_decision_is_forgotten_some_time_after_its_window(windowed):
    learner = windowed.learner()
    decision = windowed.decide("a")
    fact = windowed.feedback(decision, 1.0)
    windowed.clock.advance(seconds=3600)
    windowed.tick()
    settle(learner)
    windowed.put(fact)
    settle(learner)
    assert arms(learner)["a"] == (1, 0.0)
    assert learner.status(TENANT, "greeting").skipped == {"late": 1}
    assert windowed.database.query("SELECT count(*) FROM remembered") == [(0,)]


def test_a_pause_stops_the_windows_too(windowed):
    learner = windowed.learner()
    windowed.decide("a")
    settle(learner)
    windowed.move("paused", learner)
    windowed.clock.advance(seconds=120)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (0, None)
    windowed.move("running", learner)
    settle(learner)
    assert arms(learner)["a"] == (1, 0.0)


def test_a_revision_replaces_what_the_decision_had_taught():
    world = World(experiment(type="bounded", duplicates="latest"))
    learner = world.learner()
    decision = world.decide("a")
    for value in (0.9, 0.2, 0.6):
        world.reward(decision, value)
        settle(learner).stop()
        learner = world.learner()
    assert arms(learner)["a"] == (1, 0.6)
    assert learner.status(TENANT, "greeting").feedback == 1
    world.close()


def test_added_rewards_sum_up_within_the_range():
    world = World(experiment(type="bounded", duplicates="add"))
    learner = world.learner()
    decision = world.decide("a")
    for value in (0.1, 0.2, 0.3):
        world.reward(decision, value)
    settle(learner)
    assert arms(learner)["a"] == (1, 0.6)
    world.reward(decision, 0.9)
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)
    world.close()


def test_a_revision_of_what_was_rolled_back_is_refused():
    world = World(experiment(type="bounded", duplicates="latest"))
    learner = world.learner()
    kept = learner.take_snapshot(TENANT, "greeting")
    decision = world.decide("a")
    world.reward(decision, 1.0)
    settle(learner)
    learner.roll_back(TENANT, "greeting", version=kept.version, actor="ann")
    world.reward(decision, 0.5)
    world.reward(world.decide("b"), 0.5)
    settle(learner)
    assert (arms(learner)["a"], arms(learner)["b"]) == ((0, None), (1, 0.5))
    assert learner.status(TENANT, "greeting").skipped == {"rolled_back": 1}
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


@pytest.mark.parametrize("duplicates", ["first", "latest"])
def test_a_reward_that_the_experiment_cannot_use_is_counted_and_named(duplicates):
    world = World(experiment(duplicates=duplicates))
    learner = world.learner()
    world.put(*[world.feedback(world.decide("a"), value) for value in (1.0, 0.5, 0.0, math.nan)])
    settle(learner)
    status = learner.status(TENANT, "greeting")
    assert (status.feedback, status.skipped) == (2, {"reward": 2})
    assert "2 facts were not learned from: their reward" in status.reason
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


def test_a_second_fact_inside_a_window_is_a_duplicate(windowed):
    learner = windowed.learner()
    decision = windowed.decide("a")
    windowed.reward(decision, 1.0)
    windowed.reward(decision, 0.0)
    settle(learner)
    assert learner.status(TENANT, "greeting").skipped == {"duplicate": 1}
    windowed.clock.advance(seconds=61)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (1, 1.0)


def test_thousands_of_windows_close_at_once(windowed):
    learner = windowed.learner()
    windowed.put(*[Decided(windowed.decision("a")) for _ in range(9000)])
    settle(learner).stop()
    learner = windowed.learner()
    windowed.clock.advance(seconds=61)
    windowed.tick()
    settle(learner)
    assert arms(learner)["a"] == (9000, 0.0)
    assert learner.dump(TENANT, "greeting") == windowed.replayed()


def test_a_decision_logged_again_after_it_was_forgotten_waits_anew(windowed):
    """Nothing writes a decision twice, but no batch cut may change what it would mean."""
    decision = Decided(windowed.decision("a"))
    windowed.put(decision)
    windowed.clock.advance(seconds=3600)
    windowed.put(Ticked(windowed.clock.now_ms()), decision)
    windowed.tick()
    together = settle(windowed.learner()).dump(TENANT, "greeting")
    assert together == windowed.replayed()
