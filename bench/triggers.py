"""Webhooks of triggers through kills and a receiver that fails: how many get lost, and how many causes fire twice.

A process looks at triggers and sends what they start, on a clock that runs 2,000 times as fast, so that retries of hours
come within seconds. It is killed at random moments; the receiver refuses three of ten messages.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.clock import SystemClock
from loopwright.core.trigger import NewTrigger, Schedule, Webhook

KILLS: Final = 100
QUICK_KILLS: Final = 5
TRIGGERS: Final = 20
EVERY_S: Final = 7200
SPEED: Final = 2000
REFUSED: Final = 0.3
DRAINED_S: Final = 300.0


class FastClock:
    """A clock that has run `SPEED` times as fast since `began_ms`, in every process alike."""

    def __init__(self, began_ms: int) -> None:
        self._began_ms = began_ms
        self._clock = SystemClock()

    def now_ms(self) -> int:
        """Return the time."""
        return self._began_ms + (self._clock.now_ms() - self._began_ms) * SPEED


def opened(folder: Path, began_ms: int) -> Services:
    """Return the services over a folder, not started."""
    settings = load_settings(data_dir=folder, webhook_private=True, log_level="error")
    return Services(settings, clock=FastClock(began_ms))


def react(folder: Path, began_ms: int) -> None:
    """Look and send until this process is killed."""
    services = opened(folder, began_ms)
    print("ready", flush=True)
    while True:
        services.reacting.triggers.run()
        services.reacting.deliveries.run()
        time.sleep(0.005)


@contextmanager
def receiving(rng: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Run a receiver; yield its address, and the ids of the messages that it took."""
    taken: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            is_taken = rng.random() >= REFUSED
            if is_taken:
                taken.append(self.headers["webhook-id"])
            self.send_response(204 if is_taken else 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def drained(services: Services) -> None:
    """Send until nothing waits, for five minutes at most."""
    until = time.monotonic() + DRAINED_S
    deliveries = services.reacting.deliveries
    while deliveries.list(DEFAULT_TENANT, state="waiting", limit=1).items:
        if time.monotonic() > until:
            return
        deliveries.run()
        time.sleep(0.01)


def figures(folder: Path, kills: int) -> dict[str, float]:
    """Return what became of the messages."""
    rng = random.Random(7)
    began_ms = SystemClock().now_ms()
    with receiving(rng) as (url, taken):
        with closing(opened(folder, began_ms)) as services:
            for n in range(TRIGGERS):
                new = NewTrigger(
                    id=f"t{n}", condition=Schedule(every_s=EVERY_S), actions=(Webhook(url=url),)
                )
                services.reacting.triggers.add(DEFAULT_TENANT, new)
        for _ in range(kills):
            command = [sys.executable, "-m", "bench.triggers", "--react", str(folder)]
            with subprocess.Popen(
                [*command, "--began", str(began_ms)], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(rng.uniform(0.05, 1.0))
                process.kill()
        with closing(opened(folder, began_ms)) as services:
            drained(services)
            limit = 1_000_000
            deliveries = services.reacting.deliveries.list(DEFAULT_TENANT, limit=limit).items
            firings = services.reacting.triggers.firings(DEFAULT_TENANT, limit=limit).items
            triggers = services.reacting.triggers.list(DEFAULT_TENANT).items
    created = {trigger.id: trigger.created_at_ms for trigger in triggers}
    turns = {
        (f.trigger_id, (f.fired_at_ms - created[f.trigger_id]) // 1000 // EVERY_S) for f in firings
    }
    return {
        "kills": float(kills),
        "messages": float(len(deliveries)),
        "webhook_lost": float(len({delivery.id for delivery in deliveries} - set(taken))),
        "fired_twice": float(len(firings) - len(turns)),
        "unsent": float(len(firings) - len(deliveries)),
        "repeated": float(len(taken) - len(set(taken))),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_KILLS} kills")
    parser.add_argument("--react", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.react is not None:
        react(options.react, options.began)
    with tempfile.TemporaryDirectory(prefix="loopwright-triggers-") as folder:
        found = figures(Path(folder), QUICK_KILLS if options.quick else KILLS)
    for name, figure in found.items():
        print(f"{name:14} {figure:,.4g}")
    print(json.dumps({"bench": "triggers", "figures": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
