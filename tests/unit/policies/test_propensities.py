"""Propensities are finite, positive and add up to 1: every policy, mask, share, floor and extremity."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, NoArms
from loopwright.policies import LEAST_PROPENSITY, Allocation, Batch, Problem, make, specs
from loopwright.policies.explore import Exploration

ARMS = 4
NAMES = [spec.name for spec in specs()]
EXTREME = st.sampled_from([0.0, 5e-324, 1e-310, 2.3e-308, 1e-300, 1e-20, 1e-7, 0.5, 1.0])
SHARE = st.sampled_from([0.0, 2.0**-20, 1e-3, 0.1, 0.25, 0.4, 0.7, 1.0])
FLOOR = st.sampled_from([0.0, 4 * 2.0**-20, 0.01, 0.3, 1.0])
MASK = st.none() | st.sets(st.integers(0, ARMS - 1), min_size=1).map(sorted)


def check(law: list[float], allowed: list[int], *, floor: float, highs=None) -> None:
    """The floor holds for every arm that its largest share does not keep below it."""
    assert all(math.isfinite(p) and 0 <= p <= 1 for p in law)
    assert math.fsum(law) == pytest.approx(1, abs=1e-9)
    assert {k for k, p in enumerate(law) if p > 0} <= set(allowed)
    for k in allowed:
        assert law[k] == 0 or law[k] >= LEAST_PROPENSITY * (1 - 1e-9)
        if highs is None:
            assert law[k] >= floor / len(allowed) - 1e-9


def problem_of(name: str) -> Problem:
    features = name.startswith("Lin")
    return Problem(arms=tuple("abcd"), dimension=3 if features else 1, reward_type="binary")


def state_of(name: str, wins: list[int], losses: list[int]):
    problem, policy = problem_of(name), make(name, {})
    arms = [k for k in range(ARMS) for _ in range(wins[k] + losses[k])]
    rewards = [float(i < wins[k]) for k in range(ARMS) for i in range(wins[k] + losses[k])]
    vectors = [struct.pack("<2d", 1.0, float(k)) for k in arms] if problem.features else None
    if not arms:
        return policy, problem, policy.empty(problem)
    batch = Batch.of(arms, rewards, propensities=[0.25] * len(arms), vectors=vectors)
    return policy, problem, policy.learn(problem, policy.empty(problem), batch)


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(EXTREME, min_size=ARMS, max_size=ARMS),
    lows=st.lists(SHARE, min_size=ARMS, max_size=ARMS),
    highs=st.lists(SHARE, min_size=ARMS, max_size=ARMS),
    enabled=st.lists(st.booleans(), min_size=ARMS, max_size=ARMS),
    floor=FLOOR,
    mask=MASK,
)
@example([1.0, 1.0, 5e-324, 5e-324], [0.0] * 4, [1.0] * 4, [True] * 4, 0.01, [2])
@example([1.0, 1.0, 5e-324, 5e-324], [0.0] * 4, [1.0] * 4, [True] * 4, 0.01, [2, 3])
@example([1.0, 1e-310, 1e-310, 0.0], [0.0] * 4, [0.4, 1.0, 1.0, 1.0], [True] * 4, 0.0, None)
def test_every_spread_of_every_weights_is_a_law(weights, lows, highs, enabled, floor, mask):
    allocation = Allocation(
        enabled=tuple(enabled),
        min_share=tuple(lows),
        max_share=tuple(highs),
        explore_floor=floor,
    )
    try:
        exploration = Exploration(problem_of("Uniform"), allocation)
        allowed = list(exploration.allowed(mask))
    except (Invalid, NoArms):  # nothing can be served, and it is said
        return
    law = exploration.spread(weights, allowed)
    check(law, allowed, floor=floor, highs=highs if exploration.has_shares else None)
    if mask is None:
        for k in allowed:
            assert lows[k] - 1e-9 <= law[k] <= highs[k] + 1e-5


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(
    wins=st.lists(st.sampled_from([0, 1, 40, 376]), min_size=ARMS, max_size=ARMS),
    losses=st.lists(st.sampled_from([0, 1, 40, 376]), min_size=ARMS, max_size=ARMS),
    floor=FLOOR,
    mask=MASK,
    u=st.sampled_from([0.0, 0.3, math.nextafter(1, 0)]),
)
@example([376, 376, 0, 0], [0, 0, 376, 376], 0.01, [2], 0.5)
@example([376, 376, 0, 0], [0, 0, 376, 376], 0.01, [2, 3], 0.5)
def test_every_policy_draws_with_a_propensity_that_can_be_divided_by(
    name, wins, losses, floor, mask, u
):
    policy, problem, state = state_of(name, wins, losses)
    served = policy.prepare(problem, state, Allocation.even(ARMS, explore_floor=floor))
    vector = struct.pack("<2d", 1.0, 2.0) if problem.features else None
    allowed = list(range(ARMS)) if mask is None else mask
    law = served.law(vector, mask=mask)
    check(law, allowed, floor=floor)
    draw = served.select(vector, u, mask=mask)
    assert draw.propensity == law[draw.arm] > 0
