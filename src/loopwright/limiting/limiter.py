"""Limits by name: their rates and modes, and the requests that ask them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.limit import Admission, Mode

from .bucket import Rate, admission, check_cost
from .memory import MemoryBuckets, Take

OFF: Final = Admission(True, float("inf"), 0.0, 0.0, float("inf"), 0, True, "off")
"""The answer of a limit that is switched off: its buckets are not read and not changed."""


class Ask(msgspec.Struct, frozen=True):
    """A wish for `cost` tokens of the limit `name` for `key`, one of several in `acquire_many`."""

    name: str
    key: str = ""
    cost: float = 1.0


class Reservation:
    """Tokens taken for an estimate, until the true cost is known.

    `settle` charges the difference both ways: what was too much returns, what was too little becomes a debt that later
    requests wait for. Only the first `settle` or `cancel` counts, so a retry is harmless.
    """

    def __init__(self, limiter: Limiter, ask: Ask, admitted: Admission) -> None:
        self.admission = admitted
        self._limiter = limiter
        self._ask = ask
        # Nothing was taken for a request that did not fit, even if `shadow` let it through, so nothing is settled.
        self._is_open = admitted.fits and admitted.mode != "off"
        self._lock = threading.Lock()

    def settle(self, actual: float) -> bool:
        """Charge the true cost, 0 or more tokens. Return whether this call was the one that counted."""
        if not 0 <= actual < float("inf"):
            raise Invalid(f"the actual cost is {actual}; give a number of tokens, 0 or more")
        with self._lock:
            if not self._is_open:
                return False
            self._is_open = False
        self._limiter.charge(self._ask.name, self._ask.key, actual - self._ask.cost)
        return True

    def cancel(self) -> bool:
        """Give everything back. Return whether this call was the one that counted."""
        return self.settle(0.0)


class _Limit(msgspec.Struct):
    rate: Rate
    mode: Mode
    prefix: str


class Limiter:
    """Token buckets by limit and key, with rates that change while they serve."""

    def __init__(self, buckets: MemoryBuckets | None = None) -> None:
        self._buckets = MemoryBuckets() if buckets is None else buckets
        self._limits: dict[str, _Limit] = {}
        self._lock = threading.Lock()

    def put(self, name: str, rate: Rate, mode: Mode | None = None) -> bool:
        """Set the rate of a limit, and its mode (`enforce` at first). Return False for a version older than the one held.

        Updates may arrive late or twice; only a version at least as new as the one held is taken.
        """
        with self._lock:
            held = self._limits.get(name)
            if held is not None and rate.version < held.rate.version:
                return False
            became = mode or (held.mode if held else "enforce")
            # The length keeps names and keys apart: ("a:b", "c") and ("a", "b:c") are two buckets.
            self._limits[name] = _Limit(rate, became, f"{len(name)}:{name}:")
            return True

    def drop(self, name: str) -> None:
        """Forget a limit. Its buckets fill up and are dropped in time; give a new limit another name."""
        with self._lock:
            self._limits.pop(name, None)

    def acquire(self, name: str, key: str = "", cost: float = 1.0) -> Admission:
        """Take `cost` tokens for `key` if they are there; a denial takes nothing. Raises `NotFound`, `Invalid`."""
        if not 0 < cost <= 1e9:
            check_cost(cost)
        limit = self._limit(name)
        if limit.mode == "off":
            return OFF
        fitted, tokens = self._buckets.take(limit.prefix + key, limit.rate, cost)
        return admission(tokens, cost, limit.rate, fitted=fitted, mode=limit.mode)

    def acquire_many(self, asks: Sequence[Ask]) -> tuple[bool, list[Admission]]:
        """Take from every limit or from none. Return whether the request is allowed, and each limit's own answer.

        That is how levels (organisation, team, user, feature) are asked together. A limit in `shadow` refuses nobody.
        """
        for ask in asks:
            check_cost(ask.cost)
        limits = [self._limit(ask.name) for ask in asks]
        takes = [
            Take(limit.prefix + ask.key, limit.rate, ask.cost, limit.mode == "enforce")
            for ask, limit in zip(asks, limits, strict=True)
            if limit.mode != "off"
        ]
        allowed, levels = self._buckets.take_all(takes)
        seen = iter(levels)
        answers = []
        for ask, limit in zip(asks, limits, strict=True):
            if limit.mode == "off":
                answers.append(OFF)
                continue
            fitted, tokens = next(seen)
            answers.append(admission(tokens, ask.cost, limit.rate, fitted=fitted, mode=limit.mode))
        return allowed, answers

    def reserve(self, name: str, key: str = "", estimate: float = 1.0) -> Reservation:
        """Take an estimated cost, such as the tokens of a model call; `settle` it once the cost is known."""
        ask = Ask(name, key, estimate)
        return Reservation(self, ask, self.acquire(name, key, estimate))

    def charge(self, name: str, key: str, tokens: float) -> None:
        """Take `tokens` without asking, or give back when negative; a debt delays the requests that follow."""
        limit = self._limit(name)
        self._buckets.charge(limit.prefix + key, limit.rate, tokens)

    def level(self, name: str, key: str = "") -> float:
        """Return the tokens that `key` has now, below 0 when in debt."""
        limit = self._limit(name)
        return self._buckets.level(limit.prefix + key, limit.rate)

    def rate(self, name: str) -> Rate:
        """Return the rate in force."""
        return self._limit(name).rate

    def _limit(self, name: str) -> _Limit:
        limit = self._limits.get(name)
        if limit is None:
            raise NotFound(f"no limit {name!r}; set its rate first")
        return limit
