"""What the hot path costs, as ratios to a static hello of the same server.

The server runs on one processor and the load on another, 32 connections in a closed loop. Each figure is the
median over rounds in which the two sides take turns.

- `select_ratio`, `select_linucb_ratio`, `select_lints_ratio`: complete selects ÷ hello, requests per second.
- `feedback_ratio`: durable feedback, one per request ÷ hello. Every request carries its own decision.
- `batch_ratio`: durable feedback in batches of 100, events per second ÷ hello requests per second.
- `fastapi_select_ratio`: the same selector behind a plain FastAPI and pydantic handler ÷ our hello.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from bench.footprint import await_ready, free_port, served
from bench.load import Ratio, Workload, build, cpus, ratio_rounds
from loopwright.core.clock import SystemClock
from loopwright.core.decision import Decision
from loopwright.core.ids import Ids
from loopwright.core.token import Signer

ARMS: Final = [f"arm-{k}" for k in range(10)]
DIMENSION: Final = 20
BATCH: Final = 100
EXPERIMENTS: Final[dict[str, dict[str, Any]]] = {
    "free": {"policy": {"name": "BetaThompson"}},
    "linucb": {"policy": {"name": "LinUCB"}, "context": {"dimension": DIMENSION}},
    "lints": {"policy": {"name": "LinThompson"}, "context": {"dimension": DIMENSION}},
}
SELECT: Final = "/api/v1/agent/select"
FEEDBACK: Final = "/api/v1/agent/feedback"


def prepare(address: str, key: str) -> None:
    """Create and start the experiments, and give each some feedback to have learned from."""
    rng = random.Random(7)
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{address}/api/v1", headers=headers, timeout=30) as client:
        for name, shape in EXPERIMENTS.items():
            body = {"id": name, "arms": [{"id": arm} for arm in ARMS], **shape}
            client.post("/experiments", json=body).raise_for_status()
            client.post(f"/experiments/{name}/start").raise_for_status()
            for _ in range(200):
                chosen = client.post("/agent/select", json=request_for(name, rng)).json()
                reward = float(rng.random() < 0.1 + 0.05 * ARMS.index(chosen["arm"]["id"]))
                report = {"request_id": chosen["request_id"], "reward": reward}
                client.post("/agent/feedback", json=report).raise_for_status()


def request_for(name: str, rng: random.Random) -> dict[str, Any]:
    """Return a select request as a product would send it."""
    context: dict[str, Any] = {"id": f"user-{rng.randrange(10_000)}"}
    if "context" in EXPERIMENTS[name]:
        context["vector"] = [round(rng.gauss(0, 1), 6) for _ in range(DIMENSION)]
    return {"experiment_id": name, "context": context}


def selects(port: int, key: str, name: str) -> Workload:
    """Return a thousand different selects of one experiment."""
    return Workload(port, [build("POST", SELECT, body=body, key=key) for body in bodies(name)])


def bodies(name: str) -> list[bytes]:
    """Return the bodies of a thousand different selects."""
    rng = random.Random(11)
    return [json.dumps(request_for(name, rng)).encode() for _ in range(1000)]


def tokens(data: Path, n: int) -> Iterator[str]:
    """Yield `n` tokens of decisions of their own, signed with the server's key."""
    ring = json.loads((data / "keys.json").read_text())
    keys = {int(key_id): base64.b64decode(text) for key_id, text in ring["keys"].items()}
    signer = Signer(keys, active=ring["active"])
    clock, rng = SystemClock(), random.Random()
    ids = Ids(clock, rng)
    for k in range(n):
        arm = ARMS[k % len(ARMS)]
        yield signer.sign(Decision(ids(), "default", "free", arm, 0.1, 1, clock.now_ms()))


def singles(port: int, key: str, data: Path, *, n: int) -> Workload:
    """Return `n` requests of one feedback each."""
    reports = (
        json.dumps({"request_id": token, "reward": float(k % 3 == 0)}).encode()
        for k, token in enumerate(tokens(data, n))
    )
    built = [build("POST", FEEDBACK, body=report, key=key) for report in reports]
    return Workload(port, built, once=True)


def batches(port: int, key: str, data: Path, *, n: int) -> Workload:
    """Return `n` requests of a hundred feedbacks each."""
    source = tokens(data, n * BATCH)
    built = []
    for _ in range(n):
        items = [{"request_id": next(source), "reward": float(k % 3 == 0)} for k in range(BATCH)]
        body = json.dumps({"items": items}).encode()
        built.append(build("POST", f"{FEEDBACK}/batch", body=body, key=key))
    return Workload(port, built, once=True)


@contextmanager
def fastapi_server(folder: Path) -> Iterator[int]:
    """Run the FastAPI comparison; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.fastapi_select", str(folder / "fastapi"), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        await_ready(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def measure(*, rounds: int, seconds: float, progress: bool) -> dict[str, float]:
    """Run everything and return the figures."""
    os.sched_setaffinity(0, cpus()[0])
    figures: dict[str, float] = {}

    def note(name: str, found: Ratio, *, times: int = 1) -> None:
        figures[name] = round(found.ratio * times, 4)
        if progress:
            measured = found.measured
            print(
                f"{name:22} {figures[name]:6.3f}   {measured.rps * times:9,.0f}/s "
                f"p50 {measured.p50_ms:.2f} p99 {measured.p99_ms:.2f} ms   "
                f"hello {found.reference.rps:,.0f}/s"
            )

    with tempfile.TemporaryDirectory(prefix="loopwright-serve-") as scratch:
        data = Path(scratch) / "data"
        program = Path(sys.executable).parent / "loopwright"
        with served(program, data) as (address, _, _):
            key = (data / "admin.key").read_text().strip()
            prepare(address, key)
            port = int(address.rsplit(":", 1)[1])
            hello = Workload(port, [build("GET", "/health/live")])
            for name, figure in (
                ("free", "select_ratio"),
                ("linucb", "select_linucb_ratio"),
                ("lints", "select_lints_ratio"),
            ):
                load = selects(port, key, name)
                note(figure, ratio_rounds(load, hello, rounds=rounds, seconds=seconds))
            # Prepared for twice the rate seen, so that a fast machine does not run out.
            load = singles(port, key, data, n=round(rounds * seconds * 30_000))
            note("feedback_ratio", ratio_rounds(load, hello, rounds=rounds, seconds=seconds))
            load = batches(port, key, data, n=round(rounds * seconds * 1_600))
            found = ratio_rounds(
                replace(load, connections=8), hello, rounds=rounds, seconds=seconds
            )
            note("batch_ratio", found, times=BATCH)
            with fastapi_server(Path(scratch)) as other:
                load = Workload(
                    other, [build("POST", "/select", body=body) for body in bodies("free")]
                )
                note(
                    "fastapi_select_ratio",
                    ratio_rounds(load, hello, rounds=rounds, seconds=seconds),
                )
    return figures


def main() -> None:
    """Measure and print the line of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five short rounds per figure")
    quick = parser.parse_args().quick
    figures = measure(rounds=5 if quick else 11, seconds=0.4 if quick else 2.0, progress=True)
    print(json.dumps({"bench": "serve", "figures": figures}))


if __name__ == "__main__":
    main()
