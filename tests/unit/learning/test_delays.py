"""Decisions that wait for feedback count in part, and no mean counts their successes alone."""

from __future__ import annotations

import random
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.learning.world import TENANT, World, arms, experiment, settle

from loopwright.backends.memory import memory_database
from loopwright.core.events import Decided, Ticked
from loopwright.learning import Pace
from loopwright.learning.delays import Delays
from loopwright.learning.memory import Remembered
from loopwright.learning.store import Store
from loopwright.policies import BetaThompson, LinThompson, Problem, Sums, exact

MINUTE = 60_000
WINDOW = 30 * MINUTE
PROBLEM = Problem(arms=("fast", "slow"))
POLICY = BetaThompson()
TRUTH = (0.10, 0.12)
LONGEST = (1 * MINUTE, 28 * MINUTE)


def waiting(arm: int, at_ms: int) -> Remembered:
    return Remembered(arm, 0.5, None, at_ms, due_ms=at_ms + WINDOW)


def delays(problem: Problem = PROBLEM) -> Delays:
    return Delays(POLICY, problem, window_ms=WINDOW, default=0.0)


def played(seed: int, *, minutes: int, per_minute: int = 20) -> tuple[Delays, Sums, int]:
    """Two arms with delays of their own, after so many minutes: what waits, what was learned, the time."""
    rng = random.Random(seed)
    made, now = delays(), minutes * MINUTE
    plus: list[tuple[int, float]] = []
    for minute in range(minutes):
        rows, answers = [], []
        for k in range(per_minute * 2):
            arm, at_ms = k % 2, minute * MINUTE + k * MINUTE // (2 * per_minute)
            rows.append(waiting(arm, at_ms))
            answer_ms = at_ms + int(rng.random() * LONGEST[arm])
            if rng.random() < TRUTH[arm] and answer_ms <= now:
                answers.append((rows[-1], answer_ms))
        made.begin(rows)
        made.answer(answers)
        answered = [row for row, _ in answers]
        taken = set(map(id, answered))
        over = [row for row in rows if id(row) not in taken and row.decided_at_ms + WINDOW < now]
        made.end([*answered, *over])
        plus += [(row.arm, 1.0) for row in answered] + [(row.arm, 0.0) for row in over]
        made.estimate(POLICY.empty(PROBLEM), minute * MINUTE)  # cohorts are merged as time goes by
    return made, learned(plus), now


def learned(rows: list[tuple[int, float]]) -> Sums:
    columns = np.array([[1.0, reward] for _, reward in rows]).reshape(-1, 2)
    return exact.sums_of(np.array([arm for arm, _ in rows], np.int64), columns, count=2)


def mean(state: Sums, arm: int) -> float | None:
    sums = state.floats()[arm]
    return float(sums[0, 1] / sums[0, 0]) if sums[0, 0] else None


@pytest.mark.parametrize(
    ("minutes", "error", "shown"),
    # After ten of thirty minutes nobody can tell yet how many of the slow arm's answers are still to come.
    [(10, 0.04, (0,)), (20, 0.025, (0, 1)), (35, 0.02, (0, 1))],
)
def test_the_estimate_is_near_the_truth_long_before_windows_end(
    minutes: int, error: float, shown: tuple[int, ...]
) -> None:
    means = []
    for seed in range(12):
        made, state, now = played(seed, minutes=minutes)
        estimate = made.estimate(state, now)
        means.append([mean(estimate, arm) for arm in (0, 1)])
    for arm in shown:
        found = [value for row in means if (value := row[arm]) is not None]
        assert len(found) > 6
        assert abs(statistics.fmean(found) - TRUTH[arm]) < error, (arm, found)
        # What the arrived rewards alone would say.
        assert max(found) < 0.5


def test_hardly_anything_is_estimated_from_decisions_that_are_too_young() -> None:
    made = delays()
    rows = [waiting(0, k) for k in range(20)]
    made.begin(rows)
    made.answer([(rows[0], 15), (rows[1], 16)])
    made.end(rows[:2])
    state = learned([(0, 1.0), (0, 1.0)])
    # Two successes and 18 decisions of which nothing is known: an arm without an estimate, not one with a mean of 1.
    assert POLICY.counts(made.estimate(state, 40)) == [0, 0]
    assert made.pending() == [18, 0]


@pytest.mark.parametrize("answers", [2, 6, 12])
@pytest.mark.parametrize("after_ms", [40, 900, 3_000])
def test_the_first_moments_of_an_arm_are_no_estimate(answers: int, after_ms: int) -> None:
    """However many of the first decisions convert at once, nobody knows yet how many will."""
    made = delays()
    rows = [waiting(0, k) for k in range(20)]
    made.begin(rows)
    made.answer([(row, row.decided_at_ms + after_ms) for row in rows[:answers]])
    made.end(rows[:answers])
    state = learned([(0, 1.0)] * answers)
    for now in range(after_ms, 3 * after_ms, max(after_ms // 10, 1)):
        found = mean(made.estimate(state, now + 20), 0)
        assert found is None or found < 3.4 * answers / 20 + 1e-9, (now, found)


def test_when_all_get_feedback_the_first_ones_are_an_estimate() -> None:
    made = delays()
    rows = [waiting(0, k) for k in range(20)]
    made.begin(rows)
    made.answer([(row, 500) for row in rows[:18]])
    made.end(rows[:18])
    state = learned([(0, float(k % 2)) for k in range(18)])
    assert mean(made.estimate(state, 8_000), 0) == pytest.approx(0.5, abs=0.06)


def test_an_arm_with_settled_decisions_keeps_its_estimate_when_traffic_rises() -> None:
    made = delays()
    made.begin([waiting(0, 100 * WINDOW + k) for k in range(500)])
    state = learned([(0, 1.0)] * 10 + [(0, 0.0)] * 90)
    assert mean(made.estimate(state, 100 * WINDOW + 600), 0) == pytest.approx(0.1, abs=0.005)


def test_once_all_is_settled_the_state_is_the_learned_one_to_the_bit() -> None:
    made, state, now = played(1, minutes=45)
    assert sum(made.pending()) > 0
    assert made.estimate(state, now) != state
    rows = silent(1, minutes=45)
    made.end(rows)
    whole = exact.merge(state, learned([(row.arm, 0.0) for row in rows]))
    assert made.estimate(whole, now + 2 * WINDOW) is whole


def silent(seed: int, *, minutes: int) -> list[Remembered]:
    """What still waits at the end of `played`."""
    rng, now, found = random.Random(seed), minutes * MINUTE, []
    for k in range(minutes * 40):
        arm, at_ms = k % 2, k * MINUTE // 40
        answer_ms = at_ms + int(rng.random() * LONGEST[arm])
        is_answered = rng.random() < TRUTH[arm] and answer_ms <= now
        if not is_answered and at_ms + WINDOW >= now:
            found.append(waiting(arm, at_ms))
    return found


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_cohorts_merge_without_losing_a_decision(seed: int) -> None:
    """Decisions begin and end in any order, early and late, while cohorts are merged; what waits stays exact."""
    rng = random.Random(seed)
    made, now, live = delays(), 0, list[Remembered]()
    for _ in range(rng.randrange(20, 120)):
        now += int(rng.expovariate(1 / (WINDOW / 40)))
        begun = [
            waiting(rng.randrange(2), max(now - int(rng.expovariate(1 / (WINDOW / 8))), 0))
            for _ in range(rng.randrange(4))
        ]
        made.begin(begun)
        live += begun
        rng.shuffle(live)
        ended = [live.pop() for _ in range(min(rng.randrange(4), len(live)))]
        made.end(ended)
        if rng.random() < 0.5:
            made.estimate(POLICY.empty(PROBLEM), now)
        assert made.pending() == [sum(row.arm == arm for row in live) for arm in (0, 1)]
    made.end(live)
    assert not made.is_waiting


def test_counts_that_were_kept_and_decisions_that_are_remembered_give_the_same_estimate() -> None:
    made, state, now = played(3, minutes=20)
    before = made.estimate(state, now)
    again = delays()
    assert again.load(made.dump())
    again.begin(silent(3, minutes=20), is_new=False)
    assert again.estimate(state, now) == before
    assert again.dump() == made.dump()


def test_counts_of_another_window_are_not_taken_over() -> None:
    made, _, _ = played(3, minutes=20)
    other = Delays(POLICY, PROBLEM, window_ms=WINDOW * 2, default=0.0)
    assert not other.load(made.dump())


def test_an_arm_that_is_added_has_room() -> None:
    made, state, now = played(5, minutes=20)
    bigger = Problem(arms=("fast", "slow", "new"))
    made.grow(bigger)
    made.begin([waiting(2, now)])
    assert made.pending()[2] == 1
    assert len(POLICY.counts(made.estimate(POLICY.grow(bigger, state), now))) == 3


@given(
    parts=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 1), st.floats(-(2.0**20), 2.0**20)), max_size=20),
            st.tuples(st.floats(0, 1), st.floats(0, 1)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_weighted_sums_are_the_sums_of_weighted_events(
    parts: list[tuple[list[tuple[int, float]], tuple[float, float]]],
) -> None:
    found = exact.weighted([(learned(rows), np.array(weights)) for rows, weights in parts])
    for arm in (0, 1):
        total, n = Fraction(0), Fraction(0)
        for rows, weights in parts:
            steps = Fraction(round(weights[arm] * 256), 256)
            for at, reward in rows:
                if at == arm:
                    grid = round(Fraction(reward) * 2**24)
                    total += steps * Fraction(grid, 2**24)
                    n += steps
        [sums] = [exact_sum for k, exact_sum in enumerate(found.exactly(0, 1)) if k == arm]
        assert abs(Fraction(sums, 2**48) - total) < Fraction(1, 2**47)
        assert abs(found.counts[arm] - n) <= Fraction(1, 2)


def test_linear_policies_weigh_the_contexts_of_what_waits() -> None:
    problem = Problem(arms=("a", "b"), dimension=3)
    policy = LinThompson()
    made = Delays(policy, problem, window_ms=WINDOW, default=0.0)
    vectors = np.random.default_rng(1).normal(size=(50, 2))
    rows = [
        Remembered(0, 0.5, vector.tobytes(), 0, due_ms=WINDOW) for vector in vectors.astype("<f8")
    ]
    made.begin(rows)
    now = WINDOW // 2
    estimate = made.estimate(policy.empty(problem), now)
    gram = estimate.floats()[0, :2, :2]
    exact_gram = vectors.T @ vectors
    weight = gram[0, 0] / exact_gram[0, 0]
    # Nothing has come, so a delay may be anything up to the window: half of the feedback is due after half of it.
    assert weight == pytest.approx(0.5, abs=0.02)
    assert gram == pytest.approx(exact_gram * weight, rel=1e-3, abs=1e-3)


# In the learner


def test_feedback_that_overtakes_its_decision_in_the_log_is_no_settled_one() -> None:
    world = World(experiment(window_s=1800.0, default=0.0))
    learner = world.learner()
    for k in range(17):
        decision = world.decision("a")
        if k in (3, 9):
            world.reward(decision, 1.0)
        world.put(Decided(decision))
        world.clock.advance(seconds=0.05)
    [found, *_] = settle(learner).status(TENANT, "greeting").arms
    assert (found.n, found.pending) == (2, 15)
    assert found.mean is None or found.mean < 0.4
    world.close()


def test_a_learner_shows_what_waits_apart_and_no_mean_of_successes_alone() -> None:
    world = World(experiment(window_s=1800.0, default=0.0))
    learner = world.learner()
    rng = random.Random(7)
    coming: list[tuple[int, object]] = []
    for _ in range(400):
        world.clock.advance(seconds=1.5)
        decision = world.decide("a")
        if rng.random() < 0.1:
            coming.append((world.clock.now_ms() + int(rng.random() * MINUTE), decision))
        for at_ms, decided in list(coming):
            if at_ms <= world.clock.now_ms():
                world.reward(decided, 1.0)  # type: ignore[arg-type]  # the list holds decisions
                coming.remove((at_ms, decided))
    [found, *_] = settle(learner).status(TENANT, "greeting").arms
    assert found.mean is not None
    assert 0.05 < found.mean < 0.2
    assert found.n + found.pending == 400
    # A snapshot holds what waits too: a rollback to it must not bring back successes alone.
    kept = learner.take_snapshot(TENANT, "greeting")
    inspected = learner.snapshot(TENANT, "greeting", version=kept.version)
    assert inspected.arms[0].mean == pytest.approx(found.mean, abs=0.01)
    assert learner.dump(TENANT, "greeting") == world.replayed()
    world.close()


def test_a_restart_weighs_what_waits_as_before() -> None:
    world = World(experiment(window_s=600.0, default=0.0))
    world.database = memory_database()
    learner = world.learner(Pace(batch=7, checkpoint_s=0.0))
    for k in range(120):
        world.clock.advance(seconds=2)
        decision = world.decide("ab"[k % 2])
        if k % 9 == 0:
            world.reward(decision, 1.0)
        settle(learner)
    before = arms(learner)
    learner.stop()
    assert Store(world.database).states()[TENANT, "greeting"].delays
    assert arms(settle(world.learner())) == before
    world.put(Ticked(world.clock.now_ms() + 700_000))
    assert arms(settle(learner))["a"] == (60, round(7 / 60, 6))
    world.close()
