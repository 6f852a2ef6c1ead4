"""What typed feedback costs: the full pipeline beside the plain reward batch, and redaction of 1 KB of text.

Both sides run in this process, its garbage collector set as the server sets it, over the same kind of log on the
disk: body → facts → group commit → answer, batches of 100, a few at a time. Of 100 items 60 are thumbs, stars,
signals and outcomes without words, 25 are measurements, 5 carry a comment, 5 are events with a query, thumbs and a
comment, 5 are corrections. That is a light mix: an item with a comment costs about two and a half times as
much to accept as one without words, so products whose users write more get a lower ratio. The two sides take turns,
and the figure is the median of the rounds' ratios.

- `typed_ratio`: typed events per second ÷ plain rewards per second.
- `redact_clean_us`, `redact_dense_us`: redaction of 1 KB, clean and full of personal data.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench.redact import CLEAN, DENSE, SIZE, per_text_us
from loopwright.app.acks import Acks
from loopwright.app.hot import FeedbackBatch
from loopwright.app.metrics import Metrics
from loopwright.app.server import SWITCH_INTERVAL_S, _quiet_collector
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.catalog import Meters
from loopwright.core.clock import SystemClock
from loopwright.core.decision import Decision
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.principal import Principal
from loopwright.core.token import Signer
from loopwright.eventlog import Writer
from loopwright.feedback import Intake, Pipeline, Quarantine, TypedIntake
from loopwright.feedback.routes import take
from loopwright.people import People

BATCH: Final = 100
AT_ONCE: Final = 8
USERS: Final = 2000
COMMENTS: Final = (
    "The answer was wrong about the delivery date and the chart took too long to load, please fix it",
    "Great, exactly what I was looking for, thank you very much",
    "It repeats the question and then says nothing about the price of the second option in the list",
    "please send the corrected invoice to jane.doe@example.com, order 48213, before friday",
)

Post = Callable[[bytes], Awaitable[Any]]


def experiment() -> Experiment:
    """Return the experiment that all decisions are of."""
    return Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"),))


class Bodies:
    """Batches that all differ, every item about its own decision."""

    def __init__(self, signer: Signer, ids: Ids) -> None:
        self._signer, self._ids = signer, ids
        self._rng = random.Random(11)
        self._count = 0

    def token(self) -> str:
        """Return the token of a fresh decision."""
        made = Decision(self._ids(), "acme", "greeting", "a", 0.5, 1, SystemClock().now_ms())
        return self._signer.sign(made)

    def plain(self) -> bytes:
        """Return a batch of rewards."""
        items = [{"request_id": self.token(), "reward": k % 2} for k in range(BATCH)]
        return json.dumps({"items": items}).encode()

    def typed(self) -> bytes:
        """Return a batch of typed feedback."""
        items = [self._item(k % 20) for k in range(BATCH)]
        self._rng.shuffle(items)
        return json.dumps({"items": items}).encode()

    def _item(self, k: int) -> dict[str, Any]:
        self._count += 1
        said: dict[str, Any] = {
            "request_id": self.token(),
            "user_id": f"user-{self._rng.randrange(USERS)}",
        }
        comment = f"{self._rng.choice(COMMENTS)} ({self._count})"
        if k < 5:
            return said | {"kind": "rating", "scale": "thumbs", "value": k % 2}
        if k < 8:
            return said | {"kind": "rating", "scale": "stars", "value": 1 + k % 5}
        if k < 11:
            return said | {"kind": "signal", "name": "copy"}
        if k < 12:
            return said | {"kind": "outcome", "metric": "resolved", "value": 1}
        if k < 17:
            labels = {"endpoint": "/answer", "model_version": "m3"}
            return said | {
                "kind": "measurement",
                "name": "ms",
                "value": self._count,
                "labels": labels,
            }
        if k < 18:
            return said | {"kind": "rating", "scale": "stars", "value": 2, "message": comment}
        if k < 19:
            data = {"thumbs": "down", "query": "revenue by region", "comment": comment}
            return said | {
                "id": f"event-{self._count}",
                "type": "query",
                "source": "user_rating",
                "session_id": f"session-{self._count % 500}",
                "data": data,
            }
        after = comment.replace("the", "this")
        return said | {"kind": "correction", "before": comment, "after": after}


def sides(folder: Path) -> tuple[Bodies, Callable[[], tuple[Post, Post]], Callable[[], None]]:
    """Return the bodies, the two sides to be made on a running loop, and how to close them."""
    clock = SystemClock()
    ids = Ids(clock, random.Random(1))
    signer = Signer({1: bytes(range(32))}, active=1)
    found = experiment()
    log = SqliteEventLog(folder / "log.db")
    people_database = SqliteDatabase(folder / "people.db")
    quarantine_database = SqliteDatabase(folder / "quarantine.db", synchronous="NORMAL")
    writer = Writer(log, clock)
    typed = TypedIntake(
        Pipeline(signer, find=lambda *_: found, ids=ids),
        people=People(people_database, clock=clock),
        quarantine=Quarantine(quarantine_database),
        clock=clock,
        ids=ids,
    )
    typed.people.resolve("acme", [f"user-{n}" for n in range(USERS)])
    plain = Intake(signer, find=lambda *_: found, clock=clock, ids=ids)

    def begin() -> tuple[Post, Post]:
        acks = Acks(writer, asyncio.get_running_loop())
        rewards = FeedbackBatch(plain, acks.append, Metrics(), meters=Meters(clock))
        principal = Principal("acme", "key", frozenset({"feedback"}))

        async def post_typed(body: bytes) -> bytes:
            answered = await take(typed, acks.append, tenant_id="acme", path="feedback", body=body)
            return msgspec.json.encode(answered.content)

        async def post_plain(body: bytes) -> bytes:
            return (await rewards.answer(principal, body)).body

        return post_plain, post_typed

    def close() -> None:
        writer.close()
        log.close()
        people_database.close()
        quarantine_database.close()

    return Bodies(signer, ids), begin, close


async def rate(post: Post, bodies: Sequence[bytes]) -> float:
    """Return events per second, a few batches at a time; every item must be new."""
    waiting = iter(bodies)

    async def work() -> None:
        for body in waiting:
            answered = json.loads(await post(body))
            if answered["accepted"] != BATCH:
                raise SystemExit(f"not every item was accepted: {answered}")

    started = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(AT_ONCE)])
    return len(bodies) * BATCH / (time.perf_counter() - started)


async def compare(
    bodies: Bodies, begin: Callable[[], tuple[Post, Post]], *, rounds: int, batches: int
) -> tuple[float, float, float]:
    """Return the median ratio, and the median rates of both sides."""
    plain, typed = begin()
    ratios: list[float] = []
    rates: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        prepared = (
            [bodies.plain() for _ in range(batches)],
            [bodies.typed() for _ in range(batches)],
        )
        found = [0.0, 0.0]
        for side in (0, 1) if turn % 2 else (1, 0):
            found[side] = await rate((plain, typed)[side], prepared[side])
        if turn:  # the first round warms up
            ratios.append(found[1] / found[0])
            for side in (0, 1):
                rates[side].append(found[side])
    return statistics.median(ratios), statistics.median(rates[0]), statistics.median(rates[1])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the line of figures."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _quiet_collector()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(argv).quick
    with tempfile.TemporaryDirectory(prefix="loopwright-bench-") as folder:
        bodies, begin, close = sides(Path(folder))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ratio, plain, typed = runner.run(
                compare(bodies, begin, rounds=5 if quick else 11, batches=40 if quick else 120)
            )
        close()
    clean, dense = ((text * 2)[:SIZE] for text in (CLEAN, DENSE))
    rounds = 9 if quick else 31
    figures = {
        "typed_ratio": round(ratio, 3),
        "typed_per_s": round(typed),
        "plain_per_s": round(plain),
        "redact_clean_us": round(per_text_us(clean, rounds=rounds), 1),
        "redact_dense_us": round(per_text_us(dense, rounds=rounds), 1),
    }
    print(json.dumps({"bench": "intake", "figures": figures}))


if __name__ == "__main__":
    main()
