"""One piece of feedback per request, 32 connections: ours, MLflow's and Phoenix's, each ÷ a server that does nothing.

The server that does nothing is FastAPI under uvicorn, taking the body and answering `{}`; it takes turns with each of
the others, all on the same processor. MLflow and Phoenix run in environments of their own, which `--peers` makes;
without them only ours is measured.

- `ours_ratio`: `POST /feedback`, a thumb with the full pipeline, on the disk before the answer.
- `mlflow_ratio`: `POST /api/3.0/mlflow/traces/{id}/assessments`, SQLite, committed before the answer.
- `phoenix_ratio`: `POST /v1/span_annotations` as it comes: answered before it is written.
- `phoenix_sync_ratio`: the same with `?sync=true`: written before the answer, but not synced to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench.footprint import free_port, served
from bench.load import LoadFailed, Workload, build, cpus, ratio_rounds, run

DATA: Final = Path(__file__).parent / "data"
STARTS_WITHIN_S: Final = 90.0
WARM_S: Final = 8.0
ABOUT: Final = 100
"""Traces, or spans, that the feedback is about."""
DISTINCT: Final = 5000
"""Different requests for a peer; the rate is such that few are sent twice."""

WHEN: Final = "2026-11-20T09:30:00Z"


@dataclass(frozen=True)
class Peer:
    """A product in an environment of its own, how it starts, and what it is sent."""

    name: str
    package: str
    command: Callable[[Path, int], Sequence[str]]
    """From a scratch folder and a port to the command; the program is found in the peer's environment."""
    environment: Callable[[Path, int], Mapping[str, str]]
    healthy: str
    prepare: Callable[[httpx.Client], None]
    """Makes what the feedback is about."""
    requests: Mapping[str, tuple[Callable[[int], str], Callable[[int], Any]]]
    """By figure: the path and the body of the k-th request."""

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return DATA / f"peers-{self.name}"

    @property
    def has_program(self) -> bool:
        """Whether it is installed."""
        return (self.folder / "bin" / self.command(Path(), 0)[0]).exists()

    def install(self) -> None:
        """Install it, once."""
        if not (self.folder / "bin" / "python").exists():
            venv.create(self.folder, with_pip=True)
        subprocess.run(
            [self.folder / "bin" / "python", "-m", "pip", "install", "-q", self.package], check=True
        )

    @contextmanager
    def running(self, scratch: Path) -> Iterator[int]:
        """Run it with its data in `scratch`; give its port."""
        port = free_port()
        program, *arguments = self.command(scratch, port)
        with (scratch / f"{self.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.folder / "bin" / program, *arguments],
                env={**os.environ, "DO_NOT_TRACK": "true", **self.environment(scratch, port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=scratch,
                start_new_session=True,  # it has workers, and they are to end with it
            )
        try:
            address = f"http://127.0.0.1:{port}"
            await_answer(address + self.healthy, process)
            with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
                self.prepare(client)
            yield port
        finally:
            end_session(process)

    def workload(self, figure: str, port: int) -> Workload:
        """Return the requests of a figure."""
        path, body = self.requests[figure]
        built = [build("POST", path(k), body=json.dumps(body(k)).encode()) for k in range(DISTINCT)]
        # MLflow answers strangers only under a host that it knows.
        local = [request.replace(b"host: bench", b"host: localhost", 1) for request in built]
        return Workload(port, local)


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once `url` answers 200."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with exit code {process.returncode}")
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer within {STARTS_WITHIN_S:g} s")


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and whatever it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def trace_id(k: int) -> str:
    """Return the id of the k-th trace in MLflow's form."""
    return f"tr-{k % ABOUT + 1:032x}"


def make_traces(client: httpx.Client) -> None:
    """Give MLflow the traces that feedback is about."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    for k in range(ABOUT):
        info = {
            "trace_id": trace_id(k),
            "trace_location": place,
            "request_time": WHEN,
            "state": "OK",
        }
        answer = client.post("/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
        answer.raise_for_status()


def assessment(k: int) -> Any:
    """Return the k-th feedback in MLflow's form."""
    source = {"source_type": "HUMAN", "source_id": f"u{k}"}
    about = {"trace_id": trace_id(k), "create_time": WHEN, "last_update_time": WHEN}
    made = {
        **about,
        "assessment_name": "thumbs",
        "source": source,
        "feedback": {"value": k % 3 > 0},
    }
    return {"assessment": made}


def span_id(k: int) -> str:
    """Return the id of the k-th span in Phoenix's form."""
    return f"{k % ABOUT + 1:016x}"


def make_spans(client: httpx.Client) -> None:
    """Give Phoenix the spans that feedback is about, and wait until it has them."""
    spans = [
        {
            "name": "call",
            "context": {"trace_id": f"{k + 1:032x}", "span_id": span_id(k)},
            "span_kind": "LLM",
            "start_time": WHEN,
            "end_time": WHEN,
            "status_code": "OK",
        }
        for k in range(ABOUT)
    ]
    client.post("/v1/projects/default/spans", json={"data": spans}).raise_for_status()
    deadline = time.monotonic() + 30
    last = annotation(ABOUT - 1)
    while client.post("/v1/span_annotations?sync=true", json=last).status_code != 200:
        if time.monotonic() > deadline:
            raise SystemExit("Phoenix did not store the spans within 30 s")
        time.sleep(0.2)


def annotation(k: int) -> Any:
    """Return the k-th feedback in Phoenix's form."""
    made = {
        "span_id": span_id(k),
        "name": "thumbs",
        "annotator_kind": "HUMAN",
        "identifier": f"u{k}",
        "result": {"score": float(k % 3 > 0)},
    }
    return {"data": [made]}


PEERS: Final = (
    Peer(
        name="mlflow",
        package="mlflow==3.17.2",
        command=lambda scratch, port: [
            "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=2",
            f"--backend-store-uri=sqlite:///{scratch}/mlflow.db",
            f"--artifacts-destination={scratch}/artifacts",
        ],
        environment=lambda scratch, port: {"MLFLOW_DISABLE_TELEMETRY": "true"},
        healthy="/health",
        prepare=make_traces,
        requests={
            "mlflow_ratio": (
                lambda k: f"/api/3.0/mlflow/traces/{trace_id(k)}/assessments",
                assessment,
            )
        },
    ),
    Peer(
        name="phoenix",
        package="arize-phoenix==20.26.1",
        command=lambda scratch, port: ["phoenix", "serve"],
        environment=lambda scratch, port: {
            "PHOENIX_WORKING_DIR": str(scratch),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        },
        healthy="/healthz",
        prepare=make_spans,
        requests={
            "phoenix_ratio": (lambda k: "/v1/span_annotations", annotation),
            "phoenix_sync_ratio": (lambda k: "/v1/span_annotations?sync=true", annotation),
        },
    ),
)  # fmt: skip


def serve_nothing(port: int) -> None:
    """Be the server that does nothing."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    async def take(body: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def healthy() -> dict[str, Any]:
        return {}

    app.post("/feedback")(take)
    app.get("/")(healthy)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def nothing() -> Iterator[Workload]:
    """Run the server that does nothing; give the requests for it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.peers_http", "--nothing", str(port)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await_answer(f"http://127.0.0.1:{port}/", process)
        bodies = [json.dumps(thumb(k)).encode() for k in range(1000)]
        yield Workload(port, [build("POST", "/feedback", body=body) for body in bodies])
    finally:
        end_session(process)


def thumb(k: int) -> Any:
    """Return the k-th feedback in our form."""
    return {
        "kind": "rating",
        "scale": "thumbs",
        "value": int(k % 3 > 0),
        "output_id": f"answer-{k}",
        "user_id": f"u{k % 1000}",
    }


def measure(*, rounds: int, seconds: float) -> dict[str, float]:
    """Measure ours and every peer that is installed; print a line for each and return the ratios."""
    os.sched_setaffinity(0, cpus()[0])
    figures: dict[str, float] = {}

    def note(figure: str, load: Workload, idle: Workload, *, times: int = 1) -> None:
        found = ratio_rounds(load, idle, rounds=rounds, seconds=seconds * times)
        figures[figure] = round(found.ratio, 4)
        measured = found.measured
        print(
            f"{figure:20} {found.ratio:7.3f}   {measured.rps:9,.0f}/s p50 {measured.p50_ms:.1f} "
            f"p99 {measured.p99_ms:.1f} ms   doing nothing {found.reference.rps:,.0f}/s",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="loopwright-peers-") as folder, nothing() as idle:
        scratch = Path(folder)
        data = scratch / "data"
        with served(Path(sys.executable).parent / "loopwright", data) as (address, _, _):
            key = (data / "admin.key").read_text().strip()
            welcome(address, key)
            note("ours_ratio", ours(int(address.rsplit(":", 1)[1]), key, rounds * seconds), idle)
        for peer in PEERS:
            if not peer.has_program:
                print(f"{peer.name} is not installed, so there is nothing to compare; use --peers")
                continue
            with peer.running(scratch) as port:
                for figure in peer.requests:
                    load = peer.workload(figure, port)
                    try:
                        # Every worker opens its store at its first request, which takes seconds.
                        run(load.host, port, load.requests, seconds=WARM_S)
                        # Some answer a few dozen times a second: a short window holds too little.
                        note(figure, load, idle, times=4)
                    except LoadFailed as error:  # a peer's trouble must not cost the other figures
                        print(f"{figure} could not be measured: {error}", flush=True)
    return figures


def welcome(address: str, key: str) -> None:
    """Send every user's first feedback: the server is then complete, and knows its users as it mostly does."""
    headers = {"authorization": f"Bearer {key}"}
    items = [{**thumb(k), "output_id": f"welcome-{k}"} for k in range(1000)]
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        client.post("/api/v1/feedback", json={"items": items}).raise_for_status()


def ours(port: int, key: str, seconds: float) -> Workload:
    """Return requests for `seconds`, no two about the same answer."""
    # Prepared for several times the rate seen, so that a fast machine does not run out.
    bodies = (json.dumps(thumb(k)).encode() for k in range(round(seconds * 20_000)))
    built = [build("POST", "/api/v1/feedback", body=body, key=key) for body in bodies]
    return Workload(port, built, once=True)


def main() -> None:
    """Measure and print the line of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers_http", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five short rounds per figure")
    parser.add_argument("--peers", action="store_true", help="install the peers first, once")
    parser.add_argument("--nothing", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.nothing is not None:
        serve_nothing(given.nothing)
        return
    if given.peers:
        for peer in PEERS:
            peer.install()
    figures = measure(
        rounds=5 if given.quick else 7,
        seconds=0.5 if given.quick else 1.5,
    )
    print(json.dumps({"bench": "peers_http", "figures": figures}))


if __name__ == "__main__":
    main()
