"""Budgets: at most so many tokens or so much money per window, exact under any number of threads.

A bucket cannot stand in for a budget: it lets through its burst and a refill beside it, so a day's total may be nearly
twice the day's rate. Amounts are whole numbers (tokens, or money in its smallest unit), so sums are exact.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from loopwright.core.clock import SECOND_MS
from loopwright.core.errors import Invalid

Calendar = Literal["hour", "day", "month"]
EXAMINED: Final = 4
"""Keys that each new key looks at for expiry."""


class Budget(msgspec.Struct, frozen=True):
    """At most `limit` per window: a calendar hour, day or month in the time zone `tz`, or the last `window` seconds.

    Raises `Invalid` for a negative limit, a window of no length and an unknown time zone.
    """

    limit: int
    window: Calendar | int = "day"
    tz: str = "UTC"

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise Invalid(f"the limit of a budget is {self.limit}; give a whole number, 0 or more")
        if isinstance(self.window, int) and self.window < 1:
            raise Invalid(f"the window is {self.window} s; give whole seconds, at least 1")
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Invalid(f"no time zone {self.tz!r}; give an IANA name such as UTC") from None


class Standing(msgspec.Struct, frozen=True):
    """What a budget says: whether the amount was taken, what is left, and when amounts return.

    `remaining` is below 0 after a settlement above its reservation; nothing more is taken until the window moves on.
    `retry_after_s` is 0 when taken, and None for an amount above the whole limit: it never fits.
    """

    allowed: bool
    remaining: int
    retry_after_s: float | None


class _Spent(msgspec.Struct):
    """What one key has spent, by the time at which it was: one amount per slot."""

    slots: OrderedDict[int, int]
    total: int = 0
    expires_ms: int = 0


class Hold:
    """An amount held in a budget until the true one is known; only the first `settle` or `cancel` counts.

    One that is never settled stays spent at its estimate and leaves with its window.
    """

    def __init__(
        self, standing: Standing, settle: Callable[[int], None], lock: threading.RLock
    ) -> None:
        self.standing = standing
        self._settle = settle
        self._lock = lock
        self._is_open = standing.allowed

    def settle(self, actual: int) -> bool:
        """Replace the estimate by the true amount, 0 or more. Return whether this call was the one that counted."""
        _check(actual)
        with self._lock:
            if not self._is_open:
                return False
            self._is_open = False
            self._settle(actual)
            return True

    def cancel(self) -> bool:
        """Give the amount back. Return whether this call was the one that counted."""
        return self.settle(0)


class Budgets:
    """What was spent of each budget, by key, in the memory of one process.

    `now_ms` is wall time, since calendar windows follow it. A clock that goes back reopens no window: the latest time
    that was seen holds. A sliding window counts in slots of a thousandth of its length and lets amounts leave by at most
    one slot late, so it never overspends and its memory is bounded.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.RLock()
        self._spent: OrderedDict[str, _Spent] = OrderedDict()
        self._latest_ms = 0

    def __len__(self) -> int:
        return len(self._spent)

    def spend(self, key: str, budget: Budget, amount: int) -> Standing:
        """Take `amount` for good if it is there; a denial takes nothing."""
        return self.hold(key, budget, amount).standing

    def hold(self, key: str, budget: Budget, estimate: int) -> Hold:
        """Take an estimate if it is there; settle the answer with the true amount."""
        _check(estimate)
        with self._lock:
            now = self._now()
            spent = self._current(key, budget, now)
            allowed = spent.total + estimate <= budget.limit
            slot = _slot_ms(budget, now)
            wait_s = 0.0 if allowed else _wait_s(budget, spent, estimate, now)
            if allowed:
                spent.slots[slot] = spent.slots.get(slot, 0) + estimate
                spent.total += estimate
                spent.expires_ms = _end_ms(budget, slot)

            def settle(actual: int) -> None:
                self._settle(key, budget, slot, actual - estimate)

            return Hold(Standing(allowed, budget.limit - spent.total, wait_s), settle, self._lock)

    def remaining(self, key: str, budget: Budget) -> int:
        """Return what may still be spent in this window."""
        with self._lock:
            return budget.limit - self._current(key, budget, self._now()).total

    def _settle(self, key: str, budget: Budget, slot: int, difference: int) -> None:
        """Correct an amount where it stands: in the window that it was taken from, and nowhere once that is over."""
        spent = self._current(key, budget, self._now())
        if slot in spent.slots:
            spent.slots[slot] += difference
            spent.total += difference

    def _current(self, key: str, budget: Budget, now: int) -> _Spent:
        spent = self._spent.get(key)
        if spent is None:
            self._forget(now)
            spent = self._spent[key] = _Spent(OrderedDict())
        while spent.slots and _end_ms(budget, next(iter(spent.slots))) <= now:
            spent.total -= spent.slots.popitem(last=False)[1]
        return spent

    def _forget(self, now: int) -> None:
        """Examine the keys longest unexamined; those whose window is not over go to the end of the queue."""
        for _ in range(min(EXAMINED, len(self._spent))):
            key, spent = self._spent.popitem(last=False)
            if spent.expires_ms > now:
                self._spent[key] = spent

    def _now(self) -> int:
        self._latest_ms = max(self._latest_ms, self._now_ms())
        return self._latest_ms


def _check(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
        raise Invalid(f"the amount is {amount!r}; give a whole number, 0 or more")


def _slot_ms(budget: Budget, now: int) -> int:
    """Return the time that an amount is counted at."""
    if isinstance(budget.window, int):
        return (
            -(-now // budget.window) * budget.window
        )  # a slot of window/1000 is as many ms as the window has seconds
    return _to_ms(_floor(_local(budget, now), budget.window))


def _end_ms(budget: Budget, slot: int) -> int:
    """Return the first millisecond at which an amount of `slot` no longer counts."""
    if isinstance(budget.window, int):
        return slot + budget.window * SECOND_MS
    return _to_ms(_next(_local(budget, slot), budget.window))


def _wait_s(budget: Budget, spent: _Spent, amount: int, now: int) -> float | None:
    if amount > budget.limit:
        return None
    over = spent.total + amount - budget.limit
    end = now
    for slot, held in spent.slots.items():
        over -= held
        end = _end_ms(budget, slot)
        if over <= 0:
            break
    return (end - now) / SECOND_MS


def _local(budget: Budget, now: int) -> datetime:
    return datetime.fromtimestamp(now / SECOND_MS, ZoneInfo(budget.tz))


def _to_ms(at: datetime) -> int:
    return round(at.timestamp() * SECOND_MS)


def _floor(at: datetime, window: Calendar) -> datetime:
    at = at.replace(minute=0, second=0, microsecond=0)
    if window == "hour":
        return at
    # Midnight by the wall clock is the first of the two where an hour comes twice, so a day of 25 hours is one window.
    at = at.replace(hour=0, fold=0)
    return at.replace(day=1) if window == "month" else at


def _next(at: datetime, window: Calendar) -> datetime:
    start = _floor(at, window)
    match window:
        case "hour":
            # In UTC, for the wall clock repeats or skips an hour when summer time ends or begins.
            return (start.astimezone(UTC) + timedelta(hours=1)).astimezone(at.tzinfo)
        case "day":
            return start + timedelta(days=1)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)
