"""What Loopwright costs before it does anything: memory at rest, time to start, time from clone to select.

- `rss_mb`: resident memory of an idle server with one running experiment, its children included.
- `ready_ratio`: start of `loopwright serve` to a ready answer ÷ a bare `import litestar, numpy, uvicorn` in the
  same Python, in turns, median of the rounds.
- `clone_to_select_s`: `git clone` into an empty folder, set-up by make with empty caches, start, create an
  experiment, first select answered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

ROOT: Final = Path(__file__).parent.parent
READY_WITHIN_S: Final = 60.0
SETTLE_S: Final = 2.0
EXPERIMENT: Final[dict[str, Any]] = {"id": "footprint", "arms": [{"id": "a"}, {"id": "b"}]}


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(program: Path, data: Path) -> Iterator[tuple[str, int, float]]:
    """Run `loopwright serve` on `data`; give its address, process id and seconds from start to ready."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(program), "serve", "--data", str(data), "--port", str(port)]
    started = time.perf_counter()
    with (data.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        await_ready(port, process)
        yield address, process.pid, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once the server says that it is ready; it is asked every 5 ms."""
    deadline = time.monotonic() + READY_WITHIN_S
    # A bare socket: the asking must not cost the server's start a processor.
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with exit code {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as asking:
                asking.sendall(b"GET /health/ready HTTP/1.1\r\nhost: bench\r\n\r\n")
                if asking.recv(12).endswith(b"200"):
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise SystemExit(f"the server was not ready within {READY_WITHIN_S:g} s")


def first_select(address: str, data: Path) -> None:
    """Create a running experiment and select from it once."""
    key = (data / "admin.key").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{address}/api/v1", headers=headers, timeout=10) as client:
        client.post("/experiments", json=EXPERIMENT).raise_for_status()
        client.post("/experiments/footprint/start").raise_for_status()
        selected = client.post("/agent/select", json={"experiment_id": "footprint"})
        assert selected.raise_for_status().json()["arm"]["id"] in ("a", "b")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB of 10⁶ bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return kib * 1024 / 1e6 + sum(resident_mb(int(child)) for child in children)


def idle_memory(folder: Path) -> float:
    """Return MB resident of a server at rest after its first select."""
    data = folder / "idle" / "data"
    data.parent.mkdir()
    with served(Path(sys.executable).parent / "loopwright", data) as (address, pid, _):
        first_select(address, data)
        time.sleep(SETTLE_S)
        return resident_mb(pid)


def start_ratio(folder: Path, *, rounds: int) -> float:
    """Return the median of start-to-ready ÷ bare import, measured in turns."""
    program = Path(sys.executable).parent / "loopwright"
    ratios = []
    for turn in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import litestar, numpy, uvicorn"], check=True)
        bare = time.perf_counter() - began
        data = folder / f"start{turn}" / "data"
        data.parent.mkdir()
        with served(program, data) as (_, _, seconds):
            ratios.append(seconds / bare)
    return statistics.median(ratios[1:])  # the first round fills the page cache


def clone_to_select(folder: Path) -> float:
    """Return seconds from `git clone` to the first select, nothing cached."""
    clone, data = folder / "clone", folder / "first" / "data"
    data.parent.mkdir()
    caches = {"UV_CACHE_DIR": str(folder / "cache"), "PIP_NO_CACHE_DIR": "1"}
    environment = {**os.environ, **caches}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    system_python = Path(sys.base_prefix) / "bin" / "python3"
    began = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(clone)], check=True)
    subprocess.run(
        ["make", "--silent", f"PYTHON={system_python}", ".venv/.run"],
        cwd=clone,
        env=environment,
        check=True,
        stdout=sys.stderr,
    )
    with served(clone / ".venv" / "bin" / "loopwright", data) as (address, _, _):
        first_select(address, data)
        return time.perf_counter() - began


def main() -> None:
    """Measure and print the line of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five starts instead of fifteen")
    quick = parser.parse_args().quick
    folder = Path(tempfile.mkdtemp(prefix="loopwright-footprint-"))
    try:
        figures = {
            "rss_mb": idle_memory(folder),
            "ready_ratio": start_ratio(folder, rounds=5 if quick else 15),
            "clone_to_select_s": clone_to_select(folder),
        }
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"bench": "footprint", "figures": figures}))


if __name__ == "__main__":
    main()
