"""An API whose latency rises with load, users who rate it, and a limit that finds what it can take.

The application answers a hundred requests a second and gets twice as many. Without a limit each waits longer than the one before.
The limit in front of it begins at 200 a second, hears how late answers are, and comes down to what is served in time.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid

import httpx

import loopwright
from loopwright.limiting import AdaptiveLimitMiddleware

WORKERS, SERVICE_S = 2, 0.02
OFFERED = 200
OBJECTIVE_S = 0.1


class Seen:
    """What happened in one look."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.latencies: list[float] = []
        self.denied = 0


async def main(data: str = "loopwright-data", seconds: float = 6.0) -> list[Seen]:
    people = random.Random(1)
    workers = asyncio.Semaphore(WORKERS)

    async def answer(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        async with workers:
            await asyncio.sleep(SERVICE_S)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here you are"})

    looks: list[Seen] = []
    with loopwright.open(data) as loop:
        # One bucket for everybody, and short windows, so that there is something to see within seconds.
        loop.limits.put("api", prior=OFFERED, least=60, most=OFFERED, burst=20, window_s=0.25)
        app = AdaptiveLimitMiddleware(
            answer, loop.limits.acquire, name="api", key=lambda scope: "all"
        )
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:

            async def visit(n: int) -> None:
                began = time.perf_counter()
                got = await client.get("/")
                if got.status_code == 429:
                    looks[-1].denied += 1
                    return
                latency = time.perf_counter() - began
                looks[-1].latencies.append(latency)
                loop.limits.report("api", overloaded=float(latency > OBJECTIVE_S))
                if people.random() < 0.1:
                    stars = 5 if latency < OBJECTIVE_S else 1
                    await asyncio.to_thread(rate, loop, stars, f"user-{n % 50}")

            visits = []
            for n in range(int(seconds * OFFERED)):
                if n % (OFFERED // 2) == 0:
                    looks.append(Seen(loop.limits.status("api").rate))
                    show(looks[-2]) if len(looks) > 1 else None
                visits.append(asyncio.create_task(visit(n)))
                await asyncio.sleep(1 / OFFERED)
            await asyncio.gather(*visits)
    show(looks[-1])
    return looks


def rate(loop: loopwright.Loop, stars: int, user: str) -> None:
    """Send what a user thinks of the answer."""
    loop.feedback.send(
        [
            {
                "kind": "rating",
                "scale": "stars",
                "value": stars,
                "user_id": user,
                "output_id": str(uuid.uuid4()),  # noqa: TID251 - a product's own id
            }
        ]
    )


def show(seen: Seen) -> None:
    """Print one look: the rate, how late answers were, and how many were refused."""
    late = sum(latency > OBJECTIVE_S for latency in seen.latencies)
    served = len(seen.latencies)
    print(
        f"{seen.rate:5.0f}/s {'#' * int(seen.rate / 5):40} {served:3} served, {late:3} late, {seen.denied:3} refused"
    )


if __name__ == "__main__":
    asyncio.run(main())
