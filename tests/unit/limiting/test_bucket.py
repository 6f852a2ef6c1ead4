from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.limiting.bucket import Rate, admission, check_cost, fits, refilled


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, -math.inf, 1e10])
def test_rates_bursts_and_costs_that_are_no_positive_numbers_are_refused(bad: float) -> None:
    with pytest.raises(Invalid, match="the rate is"):
        Rate(bad, 10)
    with pytest.raises(Invalid, match="the burst is"):
        Rate(10, bad)
    with pytest.raises(Invalid, match="the cost is"):
        check_cost(bad)
    with pytest.raises(Invalid, match="version"):
        Rate(1, 1, -1)


def test_a_bucket_refills_by_its_rate_up_to_its_burst_and_not_for_a_clock_that_went_back() -> None:
    rate = Rate(10, 50)
    assert refilled(0, 2_000_000_000, rate) == 20
    assert refilled(40, 2_000_000_000, rate) == 50
    assert refilled(7, -2_000_000_000, rate) == 7


@given(
    tokens=st.floats(-100, 100),
    cost=st.floats(0.01, 100),
    per_s=st.floats(0.01, 1e6),
    burst=st.floats(100, 1e6),
)
def test_a_denied_request_that_waits_as_told_fits(
    tokens: float, cost: float, per_s: float, burst: float
) -> None:
    rate = Rate(per_s, burst)
    if fits(tokens, cost):
        return
    denied = admission(tokens, cost, rate, fitted=False, mode="enforce")
    assert not denied.allowed
    assert denied.retry_after_s is not None
    assert denied.retry_after_s > 0
    waited_ns = round(denied.retry_after_s * 1_000_000_000)
    assert fits(refilled(tokens, waited_ns, rate), cost)


def test_a_cost_above_the_burst_is_told_that_waiting_is_in_vain() -> None:
    assert admission(10, 11, Rate(5, 10), fitted=False, mode="enforce").retry_after_s is None


def test_shadow_allows_what_does_not_fit_and_says_so() -> None:
    answer = admission(0, 1, Rate(1, 1, 3), fitted=False, mode="shadow")
    assert (answer.allowed, answer.fits, answer.mode, answer.version) == (True, False, "shadow", 3)
