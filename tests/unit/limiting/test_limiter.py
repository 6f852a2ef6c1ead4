from __future__ import annotations

import math

import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.limit import Mode
from loopwright.limiting import Ask, Limiter, MemoryBuckets, Rate

from .conftest import Nanoseconds


@pytest.fixture
def limiter(clock: Nanoseconds) -> Limiter:
    made = Limiter(MemoryBuckets(clock))
    made.put("chat", Rate(10, 20, 1))
    return made


def test_an_answer_carries_what_headers_need(limiter: Limiter) -> None:
    first = limiter.acquire("chat", "ada", 5)
    assert (first.allowed, first.remaining, first.retry_after_s) == (True, 15, 0)
    assert (first.reset_after_s, first.rate, first.version) == (0.5, 10, 1)
    denied = limiter.acquire("chat", "ada", 16)
    assert (denied.allowed, denied.remaining, denied.retry_after_s) == (False, 15, 0.1)


def test_keys_and_limits_have_buckets_of_their_own(limiter: Limiter) -> None:
    limiter.put("chat:a", Rate(1, 1))
    limiter.put("chat", Rate(1, 1, 2))
    assert limiter.acquire("chat:a", "b").allowed
    assert limiter.acquire("chat", "a:b").allowed
    assert limiter.acquire("chat", "a:c").allowed
    assert not limiter.acquire("chat", "a:b").allowed


def test_an_older_version_of_a_rate_is_not_taken(limiter: Limiter) -> None:
    assert limiter.put("chat", Rate(50, 20, 3))
    assert not limiter.put("chat", Rate(99, 20, 2))
    assert limiter.rate("chat") == Rate(50, 20, 3)


def test_a_new_rate_keeps_what_was_taken(limiter: Limiter) -> None:
    limiter.acquire("chat", "ada", 20)
    limiter.put("chat", Rate(1000, 20, 2))
    assert not limiter.acquire("chat", "ada").allowed


def test_off_reads_nothing_and_shadow_allows_everything(
    limiter: Limiter, clock: Nanoseconds
) -> None:
    limiter.put("chat", Rate(10, 20, 1), "shadow")
    answers = [limiter.acquire("chat", "ada", 15) for _ in range(3)]
    assert [(a.allowed, a.fits) for a in answers] == [(True, True), (True, False), (True, False)]
    limiter.put("chat", Rate(10, 20, 1), "off")
    assert limiter.acquire("chat", "ada", 15).remaining == math.inf
    limiter.put("chat", Rate(10, 20, 1), "enforce")
    assert limiter.level("chat", "ada") == 5


def test_levels_are_asked_all_or_nothing(limiter: Limiter) -> None:
    limiter.put("org", Rate(10, 8))
    asks = [Ask("org", "acme", 5), Ask("chat", "ada", 5)]
    assert limiter.acquire_many(asks)[0]
    allowed, (org, chat) = limiter.acquire_many(asks)
    assert (allowed, org.allowed, chat.allowed) == (False, False, True)
    assert limiter.level("chat", "ada") == 15


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_a_level_that_is_not_enforced_refuses_no_request(limiter: Limiter, mode: Mode) -> None:
    limiter.put("org", Rate(1, 1), mode)
    allowed, answers = limiter.acquire_many([Ask("org", "acme", 5), Ask("chat", "ada", 5)])
    assert allowed
    assert [answer.allowed for answer in answers] == [True, True]
    assert limiter.level("chat", "ada") == 15


def test_a_reservation_is_settled_both_ways_and_once(limiter: Limiter) -> None:
    cheap = limiter.reserve("chat", "ada", 10)
    assert cheap.settle(4)
    assert not cheap.settle(0)
    assert not cheap.cancel()
    assert limiter.level("chat", "ada") == 16
    assert limiter.reserve("chat", "ada", 10).cancel()
    assert limiter.level("chat", "ada") == 16
    dear = limiter.reserve("chat", "ada", 10)
    dear.settle(40)
    assert limiter.level("chat", "ada") == -24
    assert limiter.acquire("chat", "ada").retry_after_s == 2.5


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_a_reservation_that_took_nothing_gives_nothing_back(limiter: Limiter, mode: Mode) -> None:
    limiter.acquire("chat", "ada", 20)
    limiter.put("chat", Rate(10, 20, 1), mode)
    reservation = limiter.reserve("chat", "ada", 10)
    assert reservation.admission.allowed == (mode != "enforce")
    assert not reservation.cancel()
    assert limiter.level("chat", "ada") == 0


@pytest.mark.parametrize("actual", [-1, math.nan, math.inf])
def test_an_actual_cost_that_is_no_number_leaves_the_reservation_open(
    limiter: Limiter, actual: float
) -> None:
    reservation = limiter.reserve("chat", "ada", 10)
    with pytest.raises(Invalid, match="actual cost"):
        reservation.settle(actual)
    assert reservation.cancel()


def test_an_unknown_limit_and_a_bad_cost_are_named(limiter: Limiter) -> None:
    with pytest.raises(NotFound, match="no limit 'caht'"):
        limiter.acquire("caht")
    for cost in (0, -1, math.nan):
        with pytest.raises(Invalid, match="the cost is"):
            limiter.acquire("chat", cost=cost)
        with pytest.raises(Invalid, match="the cost is"):
            limiter.acquire_many([Ask("chat", cost=cost)])
