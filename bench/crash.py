"""What a crash costs: a server under load is killed again and again, and everything it acknowledged is counted.

- `kills`: SIGKILLs at random moments, some of them while the server starts.
- `lost`: acknowledged feedback that the log does not hold exactly once, as it was sent. Clients send again what
  got no answer, so feedback counted twice would show too.
- `replay_equal`: 1 when, after all the kills, the state that was learned equals, bit for bit, what a clean
  replay of the log learns; else 0.

A SIGKILL leaves the page cache, so this proves the order of commit and answer, not the fsync: that is proved
from system calls, in `tests/engines/test_durability.py`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from bench.footprint import free_port
from loopwright.app.server import serve
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.backends.duckdb import Parquet
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.events import Received
from loopwright.eventlog import Reader, Segments
from loopwright.learning.replay import replay

CLIENTS: Final = 6
BATCH: Final = 10
LIFE_S: Final = 0.4
START_S: Final = 0.3
READY_WITHIN_S: Final = 60.0
CHECK_EVERY: Final = 10
DIMENSION: Final = 4
EXPERIMENTS: Final[dict[str, dict[str, Any]]] = {
    "free": {"policy": {"name": "BetaThompson"}},
    "linear": {"policy": {"name": "LinUCB"}, "context": {"dimension": DIMENSION}},
    "latest": {"reward": {"type": "bounded", "duplicates": "latest"}},
}


@dataclass
class Ledger:
    """What clients know: which feedback was acknowledged, and which got no answer yet."""

    acknowledged: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Decision id and reward by event id."""
    unanswered: list[list[dict[str, Any]]] = field(default_factory=list)


class Client:
    """One product: selects and gives feedback over one connection until the server is gone."""

    def __init__(self, port: int, key: str, ledger: Ledger, rng: random.Random) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._ledger = ledger
        self._rng = rng

    def work(self) -> None:
        """Send first what got no answer before, then ever new feedback."""
        try:
            while True:
                try:
                    items = self._ledger.unanswered.pop()
                except IndexError:
                    items = self._items()
                self._give(items)
        except (OSError, http.client.HTTPException):
            return  # killed, as it should be
        finally:
            self.close()

    def prepare(self) -> None:
        """Create and start the experiments."""
        for name, shape in EXPERIMENTS.items():
            arms = [{"id": arm} for arm in "abc"]
            self.post("/experiments", {"id": name, "arms": arms, **shape})
            self.post(f"/experiments/{name}/start", None)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def post(self, path: str, body: object) -> Any:
        """Return the answer to one request; an error status fails the measurement."""
        self._connection.request("POST", f"/api/v1{path}", json.dumps(body), self._headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read() or b"null")
        if response.status >= 400:
            raise SystemExit(f"{path} answered {response.status}: {answer}")
        return answer

    def _items(self) -> list[dict[str, Any]]:
        experiment = self._rng.choice(list(EXPERIMENTS))
        request: dict[str, Any] = {"experiment_id": experiment}
        if "context" in EXPERIMENTS[experiment]:
            request["context"] = {"vector": [self._rng.gauss(0, 1) for _ in range(DIMENSION)]}
        n = BATCH if self._rng.random() < 0.1 else 1
        return [
            {
                "request_id": self.post("/agent/select", request)["request_id"],
                "reward": float(self._rng.random() < 0.5),
                "event_id": f"{self._rng.getrandbits(128):032x}",
            }
            for _ in range(n)
        ]

    def _give(self, items: list[dict[str, Any]]) -> None:
        try:
            if len(items) == 1:
                results = [self.post("/agent/feedback", items[0])]
            else:
                results = self.post("/agent/feedback/batch", {"items": items})["results"]
        except (OSError, http.client.HTTPException, ValueError):
            self._ledger.unanswered.append(items)
            raise OSError("the server is gone") from None
        for item, result in zip(items, results, strict=True):
            self._ledger.acknowledged[item["event_id"]] = (result["decision_id"], item["reward"])


class Victim:
    """A server on one data directory that lives many short lives."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.data = folder / "data"
        self.ledger = Ledger()
        self._output = folder / "server.log"
        self._rng = rng
        self._is_prepared = False

    def live(self) -> None:
        """Start, take load for a random while, and be killed; one life in ten ends while it starts."""
        port = free_port()
        # Forked, so that a life costs the server's own start and not a second of imports.
        server = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self.data, port, self._output), daemon=True
        )
        server.start()
        try:
            if self._is_prepared and self._rng.random() < 0.1:
                time.sleep(self._rng.uniform(0.0, START_S))
            else:
                self._load(port, server)
        finally:
            server.kill()
            server.join()
            server.close()

    def _load(self, port: int, server: BaseProcess) -> None:
        self._await(port, server)
        key = (self.data / "admin.key").read_text().strip()
        if not self._is_prepared:
            with closing(Client(port, key, self.ledger, self._rng)) as client:
                client.prepare()
            self._is_prepared = True
        seeds = [self._rng.getrandbits(64) for _ in range(CLIENTS)]
        clients = [Client(port, key, self.ledger, random.Random(seed)) for seed in seeds]
        threads = [threading.Thread(target=client.work, daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(self._rng.uniform(0.0, LIFE_S))
        server.kill()
        for thread in threads:
            thread.join()

    def _await(self, port: int, server: BaseProcess) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and server.is_alive():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                try:
                    connection.request("GET", "/health/ready")
                    if connection.getresponse().status == 200:
                        return
                except OSError:
                    pass
            time.sleep(0.005)
        raise SystemExit(f"the server did not become ready:\n{self._output.read_text()}")

    def lost(self) -> int:
        """Return how many acknowledged facts are not in the log exactly once, as they were sent."""
        times, found = Counter[str](), {}
        with closing(SqliteEventLog(self.data / "log.db")) as log:
            reader = Reader(log, Segments(FolderBlobStore(self.data / "segments"), Parquet()))
            for expected, (offset, fact) in enumerate(reader.replay(), 1):
                if offset != expected:
                    raise SystemExit(f"offset {expected} is missing from the log")
                if isinstance(fact, Received):
                    times[fact.event_id] += 1
                    found[fact.event_id] = (fact.decision.id, fact.feedback.value)
        return sum(
            times[event_id] != 1 or found[event_id] != sent
            for event_id, sent in self.ledger.acknowledged.items()
        )

    def is_replay_equal(self) -> bool:
        """Say whether what was learned through all lives is what the log teaches from its beginning."""
        services = Services(load_settings(data_dir=self.data))
        with closing(services):
            services.start()
            if not services.learner.wait_until(services.truth.log.head(), 120):
                raise SystemExit("the learner does not catch up")
            experiments = services.truth.catalog.experiments.all("default")
            learned = {
                (e.tenant_id, e.id): services.learner.dump(e.tenant_id, e.id) for e in experiments
            }
            return replay(services.truth.reader) == learned


def _serve(data: Path, port: int, output: Path) -> None:
    """Be the server: what `loopwright serve` runs."""
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    serve(load_settings(data_dir=data, port=port))


def crash(folder: Path, *, kills: int, within_s: float, seed: int) -> dict[str, float]:
    """Return the figures of `kills` kills, or of as many as fit into `within_s`."""
    victim = Victim(folder, random.Random(seed))
    lost = done = 0
    deadline = time.monotonic() + within_s
    while done < kills and time.monotonic() < deadline:
        victim.live()
        done += 1
        if done % CHECK_EVERY == 0:
            lost = max(lost, victim.lost())
    lost = max(lost, victim.lost())
    acknowledged, waiting = len(victim.ledger.acknowledged), len(victim.ledger.unanswered)
    print(f"{done} kills, {acknowledged} acknowledged, {waiting} requests without an answer")
    return {"kills": done, "lost": lost, "replay_equal": float(victim.is_replay_equal())}


def main(argv: Sequence[str] | None = None) -> None:
    """Kill, count, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 kills, in half a minute")
    parser.add_argument("--kills", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(argv)
    kills, within_s = (30, 28.0) if options.quick else (options.kills, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        figures = crash(Path(folder), kills=kills, within_s=within_s, seed=options.seed)
    print(json.dumps({"bench": "crash", "figures": figures}))


if __name__ == "__main__":
    main()
