from __future__ import annotations

import math

import pytest
from scipy import stats
from tests.unit.policies.oracles import coins, learned, served

from loopwright.core.errors import MaskEmpty, PolicyMismatch
from loopwright.policies import Allocation, Draw, Problem, make
from loopwright.policies.base import Diverged
from loopwright.policies.explore import Exploration
from loopwright.policies.free import FixedLaw, Judgement


def test_a_state_of_another_policy_is_refused() -> None:
    problem = Problem(arms=("a", "b"))
    with pytest.raises(PolicyMismatch, match="replay the log"):
        make("EXP3", {}).prepare(
            problem, make("BetaThompson", {}).empty(problem), Allocation.even(2)
        )


def test_under_a_mask_an_optimist_takes_the_next_best() -> None:
    ready = served("KLUCB", Problem(arms=("a", "b", "c")), *coins((9, 5, 1), (1, 5, 9)))
    assert ready.law(None, mask=[1, 2]) == [0.0, 1.0, 0.0]
    assert ready.select(None, 0.99, mask=[2]).arm == 2
    with pytest.raises(MaskEmpty):
        ready.law(None, mask=[])


def test_summaries_are_in_the_units_of_the_reward() -> None:
    problem = Problem(arms=("a", "b"), low=100, high=300, reward_type="bounded")
    policy = make("GaussianThompson", {})
    sums = learned(policy, problem, [0, 0, 0, 0], [150.0, 250.0, 150.0, 250.0])
    first, second = policy.summaries(problem, sums, Allocation.even(2))
    assert first.n == 4
    assert first.mean == pytest.approx(200)
    assert first.low is not None
    assert first.high is not None
    assert 100 <= first.low < 200 < first.high <= 300
    assert (second.n, second.mean, second.low, second.high) == (0, None, None, None)


def test_the_interval_of_a_coin_is_wilsons() -> None:
    problem = Problem(arms=("a", "b"))
    policy = make("Uniform", {})
    summary = policy.summaries(
        problem, learned(policy, problem, *coins((3, 0), (17, 0))), Allocation.even(2)
    )[0]
    expected = stats.binomtest(3, 20).proportion_ci(0.95, method="wilson")
    assert (summary.low, summary.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def judged(scores: list[float], weights: list[float] | None = None, **more: float) -> FixedLaw:
    """Return the law of such a judgement over as many enabled arms, without a floor."""
    arms = tuple(f"arm-{k}" for k in range(len(scores)))
    allocation = Allocation.even(len(arms), explore_floor=0.0)
    exploration = Exploration(Problem(arms=arms), allocation)
    return FixedLaw(arms, Judgement(scores, weights, **more), exploration=exploration)


def test_the_uniform_picks_the_arm_whose_part_of_the_line_it_falls_on() -> None:
    law = judged([0.0, 0.0, 0.0], [0.25, 0.0, 0.75])
    drawn = [law.select(None, u).arm for u in (0.0, 0.2499, 0.25, 0.9999, 1 - 2**-53)]
    assert drawn == [0, 0, 2, 2, 2]
    assert law.select(None, 0.3).propensity == 0.75


def test_under_a_mask_of_arms_without_weight_the_best_score_takes_all() -> None:
    law = judged([0.1, 0.2, 0.9], [0.0, 0.0, 1.0])
    assert law.law(None, mask=[0, 1]) == [0.0, 1.0, 0.0]
    assert law.select(None, 0.5, mask=[0, 1]) == Draw(1, 1.0)


def test_a_returned_law_may_be_changed_by_its_caller() -> None:
    law = judged([0.0, 1.0])
    law.law(None)[1] = 7.0
    assert law.law(None) == [0.0, 1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_never_served(bad: float) -> None:
    with pytest.raises(Diverged, match="not finite"):
        judged([0.0, 0.0], [bad, 1.0])


def test_a_score_may_be_infinite_but_not_nan() -> None:
    assert judged([math.inf, 0.5, math.inf]).law(None) == [0.5, 0.0, 0.5]
    with pytest.raises(Diverged, match="not finite"):
        judged([math.nan, 0.5])


def test_p_best_is_that_of_thompson_sampling_whatever_the_policy() -> None:
    problem = Problem(arms=("a", "b"))
    arms, rewards = coins((30, 10), (10, 30))
    thompson, uniform = make("BetaThompson", {}), make("Uniform", {})
    best = [
        arm.p_best
        for arm in uniform.summaries(
            problem, learned(uniform, problem, arms, rewards), Allocation.even(2)
        )
    ]
    assert best == served("BetaThompson", problem, arms, rewards).law(None)
    shares = thompson.summaries(
        problem, learned(thompson, problem, arms, rewards), Allocation.even(2, explore_floor=0.0)
    )
    assert [arm.share for arm in shares] == best
