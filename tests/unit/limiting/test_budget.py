from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.limiting import Budget, Budgets
from loopwright.testing import ManualClock


def clock_at(text: str) -> ManualClock:
    return ManualClock(round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


def test_a_day_ends_at_midnight_and_says_how_long_that_is() -> None:
    clock, day = clock_at("2026-03-01T23:00:00"), Budget(100)
    budgets = Budgets(clock.now_ms)
    assert budgets.spend("ada", day, 80).remaining == 20
    denied = budgets.spend("ada", day, 21)
    assert (denied.allowed, denied.remaining, denied.retry_after_s) == (False, 20, 3600)
    assert budgets.spend("bob", day, 100).allowed
    clock.advance(seconds=3600)
    assert budgets.spend("ada", day, 100).allowed


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28T23:00:00", 23), ("2026-10-24T22:00:00", 25)]
)
def test_days_of_23_and_25_hours_are_one_window(day: str, hours: int) -> None:
    clock, budget = clock_at(day), Budget(1, "day", "Europe/Berlin")
    budgets = Budgets(clock.now_ms)
    budgets.spend("ada", budget, 1)
    assert budgets.spend("ada", budget, 1).retry_after_s == hours * 3600
    clock.advance(seconds=hours * 3600 - 1)
    assert not budgets.spend("ada", budget, 1).allowed
    clock.advance(seconds=1)
    assert budgets.spend("ada", budget, 1).allowed


def test_hours_and_months_are_windows_too() -> None:
    clock = clock_at("2026-12-31T23:30:00")
    budgets = Budgets(clock.now_ms)
    for window in ("hour", "month"):
        budget = Budget(1, window)
        budgets.spend(window, budget, 1)
        assert budgets.spend(window, budget, 1).retry_after_s == 1800


def test_a_repeated_hour_of_the_wall_clock_is_two_windows() -> None:
    clock, budget = clock_at("2026-10-25T00:30:00"), Budget(1, "hour", "Europe/Berlin")
    budgets = Budgets(clock.now_ms)
    budgets.spend("ada", budget, 1)
    assert budgets.spend("ada", budget, 1).retry_after_s == 1800
    clock.advance(seconds=1800)
    assert budgets.spend("ada", budget, 1).allowed
    assert budgets.spend("ada", budget, 1).retry_after_s == 3600


@given(steps=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 60)), max_size=50))
def test_no_sliding_window_ever_holds_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    clock, budget = ManualClock(), Budget(100, 10)
    budgets = Budgets(clock.now_ms)
    spent: list[tuple[int, int]] = []
    for wait_ms, amount in steps:
        clock.advance(seconds=wait_ms / 1000)
        now = clock.now_ms()
        standing = budgets.spend("ada", budget, amount)
        held = sum(was for at, was in spent if at > now - 10_000)
        late = sum(was for at, was in spent if now - 10_010 < at <= now - 10_000)
        if standing.allowed:
            assert held + amount <= 100
            spent.append((now, amount))
        else:
            assert held + late + amount > 100


def test_a_sliding_window_that_waits_as_told_has_room() -> None:
    clock, budget = ManualClock(), Budget(100, 60)
    budgets = Budgets(clock.now_ms)
    for _ in range(3):
        budgets.spend("ada", budget, 30)
        clock.advance(seconds=10)
    wait = budgets.spend("ada", budget, 50).retry_after_s
    assert wait == pytest.approx(40, abs=0.1)
    clock.advance(seconds=wait or 0)
    assert budgets.spend("ada", budget, 50).allowed


@pytest.mark.parametrize("window", ["day", 60])
def test_a_hold_is_settled_both_ways_and_once(window: object) -> None:
    clock = ManualClock()
    budget = Budget(100, window)  # type: ignore[arg-type]  # a literal that the list widens
    budgets = Budgets(clock.now_ms)
    hold = budgets.hold("ada", budget, 60)
    assert hold.settle(10)
    assert not hold.settle(90)
    assert budgets.remaining("ada", budget) == 90
    assert budgets.hold("ada", budget, 90).cancel()
    budgets.hold("ada", budget, 90).settle(95)
    assert budgets.remaining("ada", budget) == -5
    assert not budgets.spend("ada", budget, 0).allowed


def test_a_hold_settled_after_its_window_changes_no_later_one() -> None:
    clock, budget = clock_at("2026-03-01T23:59:59"), Budget(100)
    budgets = Budgets(clock.now_ms)
    hold = budgets.hold("ada", budget, 60)
    clock.advance(seconds=2)
    budgets.spend("ada", budget, 30)
    hold.settle(100)
    assert budgets.remaining("ada", budget) == 70


def test_64_threads_never_spend_more_than_there_is() -> None:
    budgets, budget = Budgets(ManualClock().now_ms), Budget(1_000)
    spent: list[int] = []

    def work() -> None:
        for number in range(20):
            hold = budgets.hold("ada", budget, 7)
            if hold.standing.allowed:
                actual = number % 8
                hold.settle(actual)
                spent.append(actual)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(spent) <= 1_000
    assert budgets.remaining("ada", budget) == 1_000 - sum(spent)


def test_a_clock_that_goes_back_opens_no_window_again() -> None:
    clock, day = clock_at("2026-03-02T00:00:01"), Budget(100)
    budgets = Budgets(clock.now_ms)
    budgets.spend("ada", day, 100)
    clock.advance(seconds=-10)
    assert not budgets.spend("ada", day, 1).allowed


def test_keys_whose_window_is_over_are_forgotten() -> None:
    clock, budget = ManualClock(), Budget(10, 1)
    budgets = Budgets(clock.now_ms)
    for number in range(2_000):
        budgets.spend(f"k{number}", budget, 1)
        clock.advance(seconds=0.1)
    assert len(budgets) < 50


def test_an_amount_above_the_limit_is_told_that_waiting_is_in_vain() -> None:
    assert Budgets(ManualClock().now_ms).spend("ada", Budget(5), 6).retry_after_s is None


def test_bad_budgets_and_amounts_are_refused() -> None:
    for bad in ((-1,), (1, 0), (1, "day", "Mars/Base"), (1, "day", "../etc")):
        with pytest.raises(Invalid):
            Budget(*bad)
    for amount in (-1, 1.5, True, "5"):
        with pytest.raises(Invalid, match="the amount is"):
            Budgets(ManualClock().now_ms).spend("ada", Budget(5), amount)  # type: ignore[arg-type]
