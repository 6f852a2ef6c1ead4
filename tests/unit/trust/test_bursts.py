from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from loopwright.core.clock import DAY_MS, HOUR_MS, MINUTE_MS
from loopwright.trust.bursts import bursts, is_new, poisson_limit, rushed
from loopwright.trust.policy import TrustPolicy
from loopwright.trust.votes import Vote, Votes

POLICY = TrustPolicy()


def said(minute: float, n: int, *, arm: str = "a", **about: Any) -> list[Vote]:
    """`n` votes on an arm within one minute."""
    at = int(minute * MINUTE_MS)
    return [Vote(decision_id=f"{arm}{at}-{k}", arm_id=arm, at_ms=at + k, **about) for k in range(n)]


def usual(arm: str = "a", *, minutes: int = 600, each: int = 2) -> list[Vote]:
    return [vote for minute in range(minutes) for vote in said(minute, each, arm=arm)]


@pytest.mark.parametrize("tail", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("rate", [0.01, 0.7, 3.0, 40.0, 1234.5])
def test_the_limit_is_the_smallest_count_beyond_the_tail(rate: float, tail: float) -> None:
    limit = poisson_limit(rate, tail)
    assert stats.poisson.sf(limit - 1, rate) < tail
    assert limit == np.ceil(rate) or stats.poisson.sf(limit - 2, rate) >= tail


def test_one_busy_minute_is_held_back_and_nothing_else() -> None:
    rush = said(300.5, 60)
    held = bursts(Votes.of([*usual(), *rush]), POLICY)
    assert held[-60:].all()
    # The two that came in the same minute are in the same crowd.
    assert held[:-60].sum() == 2


def test_a_burst_on_one_arm_holds_back_nothing_of_another() -> None:
    votes = [*usual("b"), *usual("a"), *said(300.5, 60)]
    held = bursts(Votes.of(votes), POLICY)
    assert not held[:1200].any()


def test_a_busy_hour_of_a_busy_arm_is_no_burst() -> None:
    peak = [vote for minute in range(600, 660) for vote in said(minute, 5)]
    assert not bursts(Votes.of([*usual(), *peak]), POLICY).any()


def test_fewer_votes_than_the_least_are_never_a_burst() -> None:
    quiet = [Vote(decision_id=str(k), arm_id="a", at_ms=k * HOUR_MS) for k in range(100)]
    few = said(3_001, POLICY.burst_least - 1)
    assert not bursts(Votes.of([*quiet, *few]), POLICY).any()


def test_where_new_accounts_alone_explain_it_the_old_ones_count() -> None:
    at = 300 * MINUTE_MS
    fresh = said(300.5, 60, account_made_ms=at - HOUR_MS)
    old = said(300.25, 4, account_made_ms=at - 30 * DAY_MS)
    held = bursts(Votes.of([*usual(), *old, *fresh]), POLICY)
    assert held[-60:].all()
    assert not held[:-60].any()


def test_an_account_is_new_for_a_day_and_one_of_unknown_age_is_not() -> None:
    at = 10 * DAY_MS
    made = [None, at - DAY_MS + 1, at - DAY_MS, at]
    votes = [Vote(decision_id="d", arm_id="a", at_ms=at, account_made_ms=m) for m in made]
    assert is_new(Votes.of(votes), POLICY).tolist() == [False, True, False, True]


def test_only_arms_with_a_busy_minute_can_have_a_burst() -> None:
    votes = Votes.of(
        [*usual("quiet"), *said(3, POLICY.burst_least, arm="busy"), *said(9, 1, arm="busy")]
    )
    found = rushed(votes.arms, votes.at_ms, POLICY)
    assert found.sum() == 11
    assert found[-11:].all()


def test_no_votes_have_no_burst() -> None:
    assert bursts(Votes.of([]), POLICY).tolist() == []
