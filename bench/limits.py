"""What a limit costs: a decision in this process, the middleware around a request, and what nobody may get too much of.

`one_key_us` and `many_keys_us` are decisions with their whole result, on one key and on 100,000; peers that answer the same question
are printed beside. `middleware_us` is what `AdaptiveLimitMiddleware` adds to a hello request, measured in turns.
`budget_overspend` is what 64 threads spend beyond one budget.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from loopwright.core.errors import LoopError
from loopwright.limiting import (
    AdaptiveLimitMiddleware,
    Budget,
    Budgets,
    Limiter,
    Rate,
)
from loopwright.testing import ManualClock

ROUNDS: Final = 7
ONCE: Final = 20_000
KEYS: Final = 100_000
FAST: Final = Rate(1e6, 1e6, 1)


def timed(call: Callable[[], Any], times: int) -> float:
    """Return microseconds per call."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times * 1e6


def one_key() -> float:
    """Return the median cost of a decision on one key, µs."""
    limiter = Limiter()
    limiter.put("chat", FAST)
    return statistics.median(
        timed(lambda: limiter.acquire("chat", "ada"), ONCE) for _ in range(ROUNDS)
    )


def many_keys() -> float:
    """Return the median cost of a decision on one of 100,000 keys that were seen before, µs."""
    limiter = Limiter()
    limiter.put("chat", FAST)
    keys = [f"user-{n * 7919 % KEYS}" for n in range(KEYS)]
    for key in keys:
        limiter.acquire("chat", key)
    found = []
    for _ in range(3):
        started = time.perf_counter()
        for key in keys:
            limiter.acquire("chat", key)
        found.append((time.perf_counter() - started) / KEYS * 1e6)
    return statistics.median(found)


def peers() -> dict[str, float]:
    """Return what a decision on one key costs others, µs."""
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter
    from throttled import RateLimiterType, Throttled, per_sec

    from limits import RateLimitItemPerSecond

    window = MovingWindowRateLimiter(MemoryStorage())
    item = RateLimitItemPerSecond(1_000_000)
    throttled = Throttled(
        key="ada",
        using=RateLimiterType.TOKEN_BUCKET.value,
        quota=per_sec(1_000_000, burst=1_000_000),
    )
    return {
        "limits_us": timed(lambda: window.hit(item, "ada"), ONCE // 4),
        "throttled_us": timed(throttled.limit, ONCE // 4),
    }


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer hello."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def middleware() -> float:
    """Return what the middleware adds to a request, µs: the median of differences of pairs."""
    limiter = Limiter()
    limiter.put("chat", FAST)
    limited = AdaptiveLimitMiddleware(hello, limiter.acquire, name="chat")
    scope = {"type": "http", "client": ("127.0.0.1", 5)}

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        return None

    async def spent(app: Any) -> float:
        started = time.perf_counter()
        for _ in range(ONCE // 4):
            await app(scope, receive, send)
        return (time.perf_counter() - started) / (ONCE // 4) * 1e6

    async def measured() -> float:
        return statistics.median([await spent(limited) - await spent(hello) for _ in range(ROUNDS)])

    return asyncio.run(measured())


def overspend() -> float:
    """Return what 64 threads spent beyond a budget of 10,000, each asking for 7 at a time."""
    budget = Budget(limit=10_000, window="day", tz="UTC")
    budgets = Budgets(ManualClock().now_ms)
    spent = [0] * 64

    def work(n: int) -> None:
        for _ in range(200):
            try:
                hold = budgets.hold("ada", budget, 7)
            except LoopError:
                return
            if hold.settle(7):
                spent[n] += 7

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(max(sum(spent) - 10_000, 0))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.parse_args(argv)
    figures = {
        "one_key_us": one_key(),
        "many_keys_us": many_keys(),
        "middleware_us": middleware(),
        "budget_overspend": overspend(),
        **peers(),
    }
    print(json.dumps({"bench": "limits", "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
