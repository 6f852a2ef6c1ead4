"""Floors, shares and masks are edits of the law."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, MaskEmpty, NoArms
from loopwright.policies import LEAST_PROPENSITY, Allocation, Problem
from loopwright.policies.explore import Exploration, winners

WEIGHTS = st.lists(st.sampled_from([0.0, 1e-12, 0.01, 0.3, 1.0]), min_size=4, max_size=4)
SHARES = st.lists(st.sampled_from([0.0, 0.05, 0.2, 0.3]), min_size=4, max_size=4)
CAPS = st.lists(st.sampled_from([0.0, 0.2, 0.3, 0.5, 1.0]), min_size=4, max_size=4)


def exploration(**allocation: object) -> Exploration:
    given_: dict[str, object] = {"enabled": (True,) * 4, **allocation}
    return Exploration(Problem(arms=tuple("abcd")), Allocation(**given_))  # type: ignore[arg-type]


def test_the_floor_is_a_total_share_spread_evenly() -> None:
    law = exploration(explore_floor=0.2).spread([1.0, 0.0, 0.0, 0.0], [0, 1, 2, 3])
    assert law == pytest.approx([0.85, 0.05, 0.05, 0.05])


def test_a_minimum_share_takes_from_the_others_in_proportion() -> None:
    rules = exploration(explore_floor=0.0, min_share=(0.0, 0.0, 0.0, 0.4))
    assert rules.spread([2.0, 1.0, 0.0, 0.0], [0, 1, 2, 3]) == pytest.approx([0.4, 0.2, 0.0, 0.4])


def test_a_maximum_share_gives_to_the_others_in_proportion() -> None:
    rules = exploration(explore_floor=0.0, max_share=(0.4, 1.0, 1.0, 1.0))
    assert rules.spread([8.0, 1.0, 1.0, 0.0], [0, 1, 2, 3]) == pytest.approx([0.4, 0.3, 0.3, 0.0])


def test_what_a_maximum_leaves_goes_to_arms_the_policy_would_not_choose() -> None:
    rules = exploration(explore_floor=0.0, max_share=(0.4, 1.0, 1.0, 0.0))
    assert rules.spread([1.0, 0.0, 0.0, 0.0], [0, 1, 2, 3]) == pytest.approx([0.4, 0.3, 0.3, 0.0])


def test_a_mask_raises_maxima_that_can_no_longer_be_met() -> None:
    rules = exploration(max_share=(0.2, 0.3, 1.0, 1.0))
    law = rules.spread([1.0, 1.0, 1.0, 1.0], rules.allowed([0, 1]))
    assert law == pytest.approx([0.4, 0.6, 0.0, 0.0])
    closed = exploration(max_share=(0.0, 0.0, 1.0, 1.0))
    assert closed.spread([1.0] * 4, closed.allowed([0])) == [1.0, 0.0, 0.0, 0.0]


def test_probabilities_too_small_to_divide_by_become_zero() -> None:
    law = exploration(explore_floor=0.0).spread([1.0, 1e-9, 0.0, 0.0], [0, 1, 2, 3])
    assert law == [1.0, 0.0, 0.0, 0.0]


@settings(max_examples=200, deadline=None)
@given(
    WEIGHTS,
    SHARES,
    CAPS,
    st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    st.sets(st.integers(0, 3), min_size=1),
)
def test_a_law_adds_up_and_keeps_all_bounds_at_once(weights, lows, highs, floor, mask) -> None:
    assume(all(low <= high for low, high in zip(lows, highs, strict=True)))
    try:
        rules = exploration(min_share=tuple(lows), max_share=tuple(highs), explore_floor=floor)
    except Invalid:
        return
    for allowed in ([0, 1, 2, 3], sorted(mask)):
        base = weights if any(weights[k] for k in allowed) else [1.0] * 4
        law = rules.spread(base, allowed)
        assert math.fsum(law) == pytest.approx(1, abs=1e-9)
        assert all(law[k] == 0 for k in range(4) if k not in allowed)
        assert all(p == 0 or p >= LEAST_PROPENSITY for p in law)
        even = floor / len(allowed)
        for k in allowed:
            assert law[k] >= max(lows[k], min(even, highs[k])) - 1e-9
        if sum(highs[k] for k in allowed) >= 1:
            assert all(law[k] <= highs[k] + 1e-9 for k in allowed)


@pytest.mark.parametrize(
    ("allocation", "why"),
    [
        ({"min_share": (0.5, 0.6, 0.0, 0.0)}, "lower them to 1 in all"),
        ({"min_share": (1.0, 0.0, 0.0, 0.0)}, "lower them to 1 in all"),
        ({"max_share": (0.2, 0.2, 0.2, 0.2)}, "raise it to 1 in all"),
        (
            {"min_share": (0.5, 0.0, 0.0, 0.0), "max_share": (0.4, 1.0, 1.0, 1.0)},
            "'a' has min_share 0.5",
        ),
        ({"min_share": (1e-9, 0.0, 0.0, 0.0)}, "at least 2"),
        ({"max_share": (1.5, 1.0, 1.0, 1.0)}, "max_share 1.5"),
        ({"explore_floor": 1.5}, "share from 0 to 1"),
        ({"explore_floor": math.nan}, "share from 0 to 1"),
        ({"explore_floor": 1e-7}, "less than 2"),
        ({"enabled": (True,)}, "one entry for each of 4"),
    ],
)
def test_shares_that_cannot_be_met_are_refused(allocation: dict[str, object], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        exploration(**allocation)


def test_shares_of_disabled_arms_do_not_count() -> None:
    rules = exploration(enabled=(True, True, False, False), min_share=(0.3, 0.3, 0.9, 0.9))
    assert rules.enabled == (0, 1)


def test_no_enabled_arm_and_an_empty_mask_are_refused() -> None:
    with pytest.raises(NoArms, match="enable one"):
        exploration(enabled=(False,) * 4)
    with pytest.raises(MaskEmpty, match="leaves no enabled arm"):
        exploration(enabled=(True, False, True, True)).allowed([1])


def test_winners_share_a_tie() -> None:
    assert winners([1.0, 3.0, 3.0, 9.0], [0, 1, 2]) == [0.0, 1.0, 1.0, 0.0]
