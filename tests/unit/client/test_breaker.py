from __future__ import annotations

from loopwright.client.breaker import AFTER, LONGEST_PAUSE_S, PAUSE_S, Breaker


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def opened(clock: Hand) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(AFTER):
        assert breaker.wait_s(5) == 0
        breaker.timed_out()
    return breaker


def test_calls_fail_at_once_after_a_few_timeouts_in_a_row() -> None:
    assert opened(Hand()).wait_s(5) == PAUSE_S


def test_an_answer_in_between_begins_the_count_anew() -> None:
    breaker = Breaker(Hand())
    for _ in range(10):
        breaker.timed_out()
        breaker.answered()
    assert breaker.wait_s(5) == 0


def test_after_the_pause_one_call_probes_and_the_others_still_fail() -> None:
    clock = Hand()
    breaker = opened(clock)
    clock.now_s += PAUSE_S
    assert breaker.wait_s(5) == 0
    assert breaker.wait_s(5) == 5


def test_an_answer_to_the_probe_lets_every_call_out_again() -> None:
    clock = Hand()
    breaker = opened(clock)
    clock.now_s += PAUSE_S
    breaker.wait_s(5)
    breaker.answered()
    assert breaker.wait_s(5) == 0


def test_the_pause_doubles_with_each_probe_that_fails_up_to_its_bound() -> None:
    clock = Hand()
    breaker = opened(clock)
    pauses = []
    for _ in range(8):
        clock.now_s += breaker.wait_s(5)
        assert breaker.wait_s(5) == 0
        breaker.timed_out()
        pauses.append(breaker.wait_s(5))
    assert pauses[:3] == [2 * PAUSE_S, 4 * PAUSE_S, 8 * PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
