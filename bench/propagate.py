"""From feedback sent to a new snapshot served, while 2,000 other feedbacks a second come in.

A probe sends one feedback, learns from the answer at which offset the log keeps it, and selects until the
snapshot that serves has learned through that offset. The delay counts from before the feedback was sent until
that select was answered, so it holds both round trips, the fsync, learning and publishing.

- `p50_ms`, `p99_ms`: the delay. `rate`: the background feedback that was really acknowledged per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.footprint import served
from bench.load import build, cpus
from bench.serve import FEEDBACK, SELECT, prepare, tokens

RATE: Final = 2_000
CONNECTIONS: Final = 32
TICK_S: Final = 0.005


class Line:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request; return the status and the body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def probe(port: int, key: str, data: Path, *, seconds: float) -> dict[str, float]:
    """Return the figures of one run against a prepared server."""
    lines = [
        Line(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(CONNECTIONS + 1)
    ]
    source = feedbacks(key, data, n=round(seconds * RATE * 1.5))
    select = build("POST", SELECT, body=b'{"experiment_id":"free"}', key=key)
    idle: asyncio.Queue[Line] = asyncio.Queue()
    for line in lines[1:]:
        idle.put_nowait(line)
    acked = 0

    async def send(line: Line) -> None:
        nonlocal acked
        status, body = await line.ask(next(source))
        if status != 201:
            raise SystemExit(f"feedback was answered {status}: {body.decode()}")
        acked += 1
        idle.put_nowait(line)

    async def background() -> None:
        began = time.perf_counter()
        sent = 0
        sending: set[asyncio.Task[None]] = set()
        while (elapsed := time.perf_counter() - began) < seconds:
            while sent < elapsed * RATE:
                task = asyncio.create_task(send(await idle.get()))
                sending.add(task)
                task.add_done_callback(sending.discard)
                sent += 1
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*sending)

    delays: list[float] = []
    load = asyncio.create_task(background())
    began = time.perf_counter()
    while not load.done():
        sent_at = time.perf_counter()
        _, body = await lines[0].ask(next(source))
        offset = json.loads(body)["offset"]
        while True:
            _, body = await lines[0].ask(select)
            if json.loads(body)["snapshot"] >= offset:
                break
        delays.append((time.perf_counter() - sent_at) * 1000)
        await asyncio.sleep(TICK_S)
    await load
    took = time.perf_counter() - began
    for line in lines:
        line.close()
    delays.sort()
    return {
        "p50_ms": round(statistics.median(delays), 3),
        "p99_ms": round(delays[int(len(delays) * 0.99)], 3),
        "rate": round(acked / took),
        "probes": len(delays),
    }


def feedbacks(key: str, data: Path, *, n: int) -> Iterator[bytes]:
    """Yield feedback requests for `n` decisions of their own."""
    for k, token in enumerate(tokens(data, n)):
        body = json.dumps({"request_id": token, "reward": float(k % 3 == 0)}).encode()
        yield build("POST", FEEDBACK, body=body, key=key)


def measure(*, rounds: int, seconds: float) -> dict[str, float]:
    """Return the median over rounds of each figure."""
    os.sched_setaffinity(0, cpus()[0])
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="loopwright-propagate-") as scratch:
        data = Path(scratch) / "data"
        with served(Path(sys.executable).parent / "loopwright", data) as (address, _, _):
            os.sched_setaffinity(0, cpus()[1])
            key = (data / "admin.key").read_text().strip()
            prepare(address, key)
            port = int(address.rsplit(":", 1)[1])
            for turn in range(rounds):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    found.append(runner.run(probe(port, key, data, seconds=seconds)))
                print(f"round {turn + 1}: {found[-1]}")
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def main() -> None:
    """Measure and print the line of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.propagate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five rounds of two seconds")
    quick = parser.parse_args().quick
    figures = measure(rounds=5 if quick else 9, seconds=2.0 if quick else 10.0)
    print(json.dumps({"bench": "propagate", "figures": figures}))


if __name__ == "__main__":
    main()
