"""The demo: a real server learns to read digits over HTTP.

Each image is a context of 64 numbers, each digit an arm, and the reward is 1 when the arm is the digit shown. The
server knows nothing else. Everything goes through the public API of a server process, as a product would.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from loopwright.app.address import read_address
from loopwright.app.keyring import ADMIN_KEY_FILE
from loopwright.client import BatchReceipt, Client, FeedbackItem
from loopwright.core.errors import Broken, Conflict

from .streams import BUNDLED, rows

STREAM: Final = "digits"
ARMS: Final = tuple("0123456789")
UNIFORM: Final = 1 / len(ARMS)
ROUNDS: Final = 8985
"""Five times through the 1,797 images."""
TAIL: Final = 0.1
"""Share of the rounds that counts as the beginning, and as the end."""
LEAST_TAIL: Final = 50
"""Rounds that the beginning and the end have at least: the mean of two rewards says nothing about learning."""
RECENT: Final = 300
READY_S: Final = 30.0
STOP_S: Final = 15.0
BATCH: Final = 8
"""Rewards that are sent together."""
MOST_HELD: Final = 200
"""Rewards that are held back, at most, while a delay is being measured."""


@dataclass
class Progress:
    """How far the demo has come."""

    rounds: int
    earned: list[float] = field(default_factory=list)
    recent: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    delays_s: list[float] = field(default_factory=list)
    """Seconds from sending feedback to a select that was served by what it taught."""
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def add(self, arm: str, reward: float) -> None:
        """Count one round."""
        self.earned.append(reward)
        self.recent.append((arm, reward))
        self.seconds = time.perf_counter() - self.started

    @property
    def done(self) -> int:
        """Rounds played."""
        return len(self.earned)

    @property
    def reward_now(self) -> float:
        """Mean reward of the most recent rounds."""
        return sum(reward for _, reward in self.recent) / max(len(self.recent), 1)

    @property
    def reward_so_far(self) -> float:
        """Mean reward of all rounds."""
        return sum(self.earned) / max(self.done, 1)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the recent traffic that each arm had."""
        counts = Counter(arm for arm, _ in self.recent)
        return {arm: counts[arm] / max(len(self.recent), 1) for arm in ARMS}

    def delay_ms(self, quantile: float) -> float | None:
        """Return a quantile of the delay from feedback to serving, in milliseconds."""
        if not self.delays_s:
            return None
        ordered = sorted(self.delays_s)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] * 1000

    def mean_of(self, part: slice) -> float:
        """Return the mean reward of some of the rounds."""
        chosen = self.earned[part]
        return sum(chosen) / max(len(chosen), 1)

    @property
    def tail(self) -> int:
        """Rounds that count as the beginning, and as the end: a tenth, or `LEAST_TAIL` where a tenth is less."""
        return max(round(self.done * TAIL), LEAST_TAIL)

    @property
    def first(self) -> float:
        """Mean reward of the first rounds, `tail` of them."""
        return self.mean_of(slice(0, self.tail))

    @property
    def last(self) -> float:
        """Mean reward of the last rounds, `tail` of them."""
        return self.mean_of(slice(-self.tail, None))

    @property
    def regret(self) -> float:
        """Rewards missed against always knowing the digit."""
        return self.done - sum(self.earned)


@dataclass(frozen=True)
class Served:
    """A server process that is ready."""

    url: str
    key_file: Path
    process: subprocess.Popen[bytes]

    @property
    def api_key(self) -> str:
        """The administrator's key."""
        return self.key_file.read_text("utf-8").strip()


@contextmanager
def server(data: Path, *, port: int) -> Iterator[Served]:
    """Run `loopwright serve` on `data` until the block ends; port 0 picks a free one.

    Raises `Broken` with what the server said when it does not come up.
    """
    if port and not is_free(port):
        raise Conflict(f"port {port} is taken; choose another with --port, or 0 for a free one")
    port = port or _free_port()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "loopwright.cli", "serve"]
    command += ["--data", str(data), "--host", "127.0.0.1", "--port", str(port)]
    output = data / "server.log"
    # A file and no pipe: nothing would empty a pipe while the demo plays, and a full one stops the server.
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S603 - our own program
    served = Served(f"http://127.0.0.1:{port}", data / ADMIN_KEY_FILE, process)
    try:
        _wait_until_ready(served, data)
        yield served
    finally:
        _stop(process)


def play(served: Served, *, rounds: int, seed: int, show: Callable[[Progress], None]) -> Progress:
    """Run the loop over HTTP and return its figures; `show` is called after every round."""
    with Client(served.url, served.api_key, timeout_s=15.0) as client:
        experiment_id = _create(client)
        progress = Progress(rounds)
        probe = Probe(client.agent.feedback_batch, progress)
        for vector, digit in _images(rounds, seed):
            selection = client.agent.select(experiment_id, {"vector": vector})
            probe.seen(selection.snapshot)
            reward = float(selection.arm.id == digit)
            progress.add(selection.arm.id, reward)
            probe.send(FeedbackItem(selection.request_id, reward))
            show(progress)
        probe.flush()
    return progress


class Probe:
    """Sends feedback and measures when selects are served by what it taught.

    A select names the log offset through which its snapshot had learned, and that offset grows only when
    something was learned. So one measurement runs at a time: feedback that comes up meanwhile is held and sent
    together afterwards, and the first select with a newer snapshot ends the measurement. What is measured
    contains the durable commit, learning, publishing and that select itself.
    """

    def __init__(
        self, deliver: Callable[[list[FeedbackItem]], BatchReceipt], progress: Progress
    ) -> None:
        self._deliver = deliver
        self._progress = progress
        self._held: list[FeedbackItem] = []
        self._newest = 0
        self._sent: tuple[float, int] | None = None

    def seen(self, snapshot: int) -> None:
        """Take note of the snapshot that served a select just now."""
        self._newest = max(self._newest, snapshot)
        if self._sent is not None and self._newest > self._sent[1]:
            self._progress.delays_s.append(time.perf_counter() - self._sent[0])
            self._sent = None

    def send(self, item: FeedbackItem) -> None:
        """Send feedback with the next batch, once the running measurement has ended."""
        self._held.append(item)
        if len(self._held) >= (BATCH if self._sent is None else MOST_HELD):
            self._sent = (time.perf_counter(), self._newest)
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, []
        if held:
            receipt = self._deliver(held)
            if receipt.rejected:
                raise Broken(f"the server refused {receipt.rejected} of {len(held)} rewards")


def _images(rounds: int, seed: int) -> Iterator[tuple[Sequence[float], str]]:
    """Yield images in an order that `seed` decides, each as often as the others."""
    images = [(row.vector or (), row.label or "") for row in rows(BUNDLED[STREAM])]
    rng = random.Random(seed)
    for number in range(rounds):
        if number % len(images) == 0:
            rng.shuffle(images)
        yield images[number % len(images)]


def _create(client: Client) -> str:
    """Create an experiment; each run on the same data directory gets one of its own."""
    for number in range(1, 1000):
        experiment_id = STREAM if number == 1 else f"{STREAM}-{number}"
        try:
            client.experiments.create(
                experiment_id, arms=ARMS, dimension=64, name="Which digit is this?"
            )
        except Conflict:
            continue
        return experiment_id
    raise Conflict(
        "the demo's data directory holds 999 runs; delete it or name another with --data"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        # Another process may take the port before the server does; waiting until ready finds that out.
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether no process listens on `port` of this machine."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_ready(served: Served, data: Path) -> None:
    """Wait until this very process answers: another one may have taken the port meanwhile."""
    output = data / "server.log"
    lock = data / "lock"
    give_up = time.monotonic() + READY_S
    # Without the environment: a proxy that is set there would be asked for 127.0.0.1.
    with httpx.Client(trust_env=False, timeout=1.0) as http:
        while time.monotonic() < give_up:
            if served.process.poll() is not None:
                raise Broken(f"the server did not start: {_last_line(output)}")
            try:
                ready = http.get(f"{served.url}/health/ready").status_code == 200
                # A port alone proves nothing: an older server may answer there.
                if ready and read_address(data) == served.url and _holds(lock, served.process.pid):
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
    raise Broken(f"the server was not ready after {READY_S:.0f} s: {_last_line(output)}")


def _holds(lock: Path, pid: int) -> bool:
    return lock.read_text("ascii", "replace").strip() == str(pid)


def _last_line(output: Path) -> str:
    lines = output.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"it said nothing; see {output}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server in its own time, so that it keeps what it has accepted."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
