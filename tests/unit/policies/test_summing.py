from __future__ import annotations

from loopwright.policies import Batch, Problem, make

PROBLEM = Problem(arms=("a", "b"))
POLICY = make("BetaThompson", {})
FIRST = Batch.of([0, 1, 1], [1.0, 0.0, 1.0], propensities=[0.5] * 3)
SECOND = Batch.of([1, 0], [0.3, 0.1], propensities=[0.5] * 2)


def test_neither_the_order_of_batches_nor_their_size_matters() -> None:
    empty = POLICY.empty(PROBLEM)
    one = POLICY.learn(PROBLEM, POLICY.learn(PROBLEM, empty, FIRST), SECOND)
    other = POLICY.learn(PROBLEM, POLICY.learn(PROBLEM, empty, SECOND), FIRST)
    whole = Batch.of([0, 1, 1, 1, 0], [1.0, 0.0, 1.0, 0.3, 0.1], propensities=[0.5] * 5)
    assert POLICY.dump(one) == POLICY.dump(other)
    assert POLICY.dump(one) == POLICY.dump(POLICY.learn(PROBLEM, empty, whole))
    assert POLICY.counts(one) == [2, 3]


def test_what_is_unlearned_was_never_there() -> None:
    before = POLICY.learn(PROBLEM, POLICY.empty(PROBLEM), FIRST)
    after = POLICY.unlearn(PROBLEM, POLICY.learn(PROBLEM, before, SECOND), SECOND)
    assert POLICY.dump(after) == POLICY.dump(before)


def test_learning_leaves_the_old_state_alone() -> None:
    before = POLICY.learn(PROBLEM, POLICY.empty(PROBLEM), FIRST)
    kept = POLICY.dump(before)
    POLICY.learn(PROBLEM, before, SECOND)
    POLICY.unlearn(PROBLEM, before, FIRST)
    assert POLICY.dump(before) == kept


def test_a_new_arm_starts_at_nothing_and_the_others_keep_what_they_have() -> None:
    before = POLICY.learn(PROBLEM, POLICY.empty(PROBLEM), FIRST)
    grown = POLICY.grow(Problem(arms=("a", "b", "c")), before)
    assert POLICY.counts(grown) == [1, 2, 0]
    assert POLICY.counts(POLICY.load(POLICY.dump(grown))) == [1, 2, 0]
