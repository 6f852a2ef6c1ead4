"""How fast policies learn: against the bare NumPy work in the same run, one thread, batches of 256.

Linear: ten arms, 20 columns. Training is checking a batch, putting it on the exact grid, summing and merging;
publishing is inverting, estimating and making what serves. The bare work is grouped sums of products by arm,
added up in floats, and one batched inverse: no checks, no model, no promise about bits. All is timed in seconds
of the one thread, so that other programs on the machine count as little as possible.

`linear_ratio` groups the bare work by a mask per arm, as one would write it; `linear_sorted_ratio` by sorting the
rows first, the fastest way we know to write it. `select_hmacs` is a whole context-free select in process (policy,
token, decision handed to the log) in units of one `hmac.digest` of 96 bytes, in turns with it.

River, MABWiser and Vowpal Wabbit are printed beside, from an environment of their own that
`python -m bench.learn --peers` makes in `bench/data/peers`.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.experiment import Arm, Experiment
from loopwright.policies import Allocation, Batch, Policy, Problem, make

ARMS: Final = 10
COLUMNS: Final = 20
EVENTS: Final = 256
BATCHES: Final = 32
PEERS: Final = Path(__file__).parent / "data" / "peers"
PEER_PACKAGES: Final = ("river==0.26.1", "mabwiser==2.7.4", "vowpalwabbit==9.11.9")

# Trains each peer on the same kind of batches and prints events per second by name.
PEER_PROGRAM: Final = """
import json, statistics, sys, time
import numpy as np
ARMS, FEATURES, EVENTS = 10, 19, 256
rng = np.random.default_rng(0)
arms = rng.integers(0, ARMS, EVENTS)
rewards = (rng.random(EVENTS) < 0.3).astype(float)
contexts = rng.normal(size=(EVENTS, FEATURES))

def rate(train, rounds=5):
    train()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        train()
        seconds.append(time.perf_counter() - started)
    return EVENTS / statistics.median(seconds)

found = {}
from river import bandit, proba
thompson = bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=1)
def river_free():
    for arm, reward in zip(arms.tolist(), rewards.tolist()):
        thompson.update(arm, reward)
thompson.pull(list(range(ARMS)))
found["river_free_per_s"] = rate(river_free)
linucb = bandit.LinUCBDisjoint(alpha=1.0, seed=1)
rows = [dict(enumerate(row)) for row in contexts.tolist()]
linucb.pull(list(range(ARMS)), context=rows[0])
def river_linear():
    for arm, reward, row in zip(arms.tolist(), rewards.tolist(), rows):
        linucb.update(arm, row, reward)
found["river_linear_per_s"] = rate(river_linear)

from mabwiser.mab import MAB, LearningPolicy
free = MAB(list(range(ARMS)), LearningPolicy.ThompsonSampling())
free.fit(arms, rewards)
found["mabwiser_free_per_s"] = rate(lambda: free.partial_fit(arms, rewards))
for name, policy in (("linucb", LearningPolicy.LinUCB(alpha=1.0)), ("lints", LearningPolicy.LinTS(alpha=0.25))):
    linear = MAB(list(range(ARMS)), policy)
    linear.fit(arms, rewards, contexts)
    found[f"mabwiser_{name}_per_s"] = rate(lambda: linear.partial_fit(arms, rewards, contexts))

import vowpalwabbit
vw = vowpalwabbit.Workspace("--cb_explore 10 --epsilon 0.05 --quiet")
lines = [
    f"{arm + 1}:{-reward}:0.1 | " + " ".join(f"f{i}:{value:.6f}" for i, value in enumerate(row))
    for arm, reward, row in zip(arms.tolist(), rewards.tolist(), contexts.tolist())
]
def vw_linear():
    for line in lines:
        vw.learn(line)
found["vw_linear_per_s"] = rate(vw_linear)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Work:
    """Batches to learn from, as a policy takes them and as bare arrays with the constant column."""

    problem: Problem
    batches: list[Batch]
    rows: list[NDArray[np.float64]]


def work(*, columns: int) -> Work:
    """Return seeded batches for ten arms."""
    rng = np.random.default_rng(0)
    problem = Problem(arms=tuple(f"arm{k}" for k in range(ARMS)), dimension=columns)
    batches, rows = [], []
    for _ in range(BATCHES):
        vectors = rng.normal(size=(EVENTS, columns - 1))
        rewards = (rng.random(EVENTS) < 0.3).astype(float)
        arms = rng.integers(0, ARMS, EVENTS)
        given = vectors if columns > 1 else None
        batches.append(Batch(arms, rewards, np.full(EVENTS, 1 / ARMS), given))
        rows.append(np.column_stack((vectors, np.ones(EVENTS))))
    return Work(problem, batches, rows)


def bare(given: Work) -> float:
    """Return the seconds of the unavoidable work on all batches, grouped by a mask per arm."""
    sums = np.zeros((ARMS, COLUMNS, COLUMNS)) + np.eye(COLUMNS)
    targets = np.zeros((ARMS, COLUMNS))
    started = time.thread_time()
    for batch, rows in zip(given.batches, given.rows, strict=True):
        for arm in range(ARMS):
            of_arm = batch.arms == arm
            vectors = rows[of_arm]
            sums[arm] += vectors.T @ vectors
            targets[arm] += batch.rewards[of_arm] @ vectors
        np.linalg.inv(sums)
    return time.thread_time() - started


def bare_sorted(given: Work) -> float:
    """Return the seconds of the unavoidable work on all batches, grouped by sorting."""
    sums = np.zeros((ARMS, COLUMNS, COLUMNS)) + np.eye(COLUMNS)
    targets = np.zeros((ARMS, COLUMNS))
    started = time.thread_time()
    for batch, rows in zip(given.batches, given.rows, strict=True):
        order = np.argsort(batch.arms, kind="stable")
        ordered, rewards = rows[order], batch.rewards[order]
        ends = np.searchsorted(batch.arms[order], range(ARMS), side="right").tolist()
        start = 0
        for arm, end in enumerate(ends):
            vectors = ordered[start:end]
            sums[arm] += vectors.T @ vectors
            targets[arm] += rewards[start:end] @ vectors
            start = end
        np.linalg.inv(sums)
    return time.thread_time() - started


def ours(given: Work, policy: Policy, *, publish: bool = True) -> float:
    """Return the seconds of training, and publishing after each batch if asked, on all batches."""
    allocation = Allocation.even(ARMS)
    sums = policy.empty(given.problem)
    started = time.thread_time()
    for batch in given.batches:
        sums = policy.learn(given.problem, sums, batch)
        if publish:
            policy.prepare(given.problem, sums, allocation)
    return time.thread_time() - started


def interleaved(measures: Sequence[Callable[[], float]], *, rounds: int) -> list[list[float]]:
    """Return the seconds of each measure in each round, taken in turn."""
    for measure in measures:
        measure()
    return [[measure() for measure in measures] for _ in range(rounds)]


def per_s(seconds: Sequence[float]) -> float:
    """Return events per second at the median."""
    return BATCHES * EVENTS / statistics.median(seconds)


def figures(*, rounds: int) -> dict[str, float]:
    """Return what we measure of ourselves and of the bare work."""
    linear, free = work(columns=COLUMNS), work(columns=1)
    thompson, optimist = make("LinThompson", {}), make("LinUCB", {})
    beta = make("BetaThompson", {})
    taken = interleaved(
        [
            lambda: bare(linear),
            lambda: bare_sorted(linear),
            lambda: ours(linear, thompson),
            lambda: ours(linear, optimist),
            lambda: ours(free, beta, publish=False),
            lambda: ours(free, beta),
        ],
        rounds=rounds,
    )
    bare_s, sorted_s, lints_s, linucb_s, free_s, free_published_s = zip(*taken, strict=True)
    return {
        "linear_ratio": ratio(bare_s, lints_s),
        "linear_sorted_ratio": ratio(sorted_s, lints_s),
        "linucb_ratio": ratio(bare_s, linucb_s),
        "linear_per_s": per_s(lints_s),
        "bare_per_s": per_s(bare_s),
        "free_per_s": per_s(free_s),
        "free_published_per_s": per_s(free_published_s),
    }


def ratio(reference: Sequence[float], measured: Sequence[float]) -> float:
    """Return the median over rounds of reference ÷ measured."""
    return statistics.median(r / m for r, m in zip(reference, measured, strict=True))


def select_hmacs(*, rounds: int) -> float:
    """Return the cost of one in-process select in units of one HMAC."""
    key, message = os.urandom(32), os.urandom(96)
    with tempfile.TemporaryDirectory(prefix="loopwright-learn-") as folder:
        services = Services(load_settings(data_dir=Path(folder), decision_buffer=10_000_000))
        arms = tuple(Arm(id=f"arm{k}") for k in range(ARMS))
        draft = Experiment(id="free", tenant_id=DEFAULT_TENANT, arms=arms)
        services.truth.catalog.experiments.create(draft)
        services.start()
        services.truth.catalog.experiments.move(DEFAULT_TENANT, "free", "start")
        select = services.door.selector.select
        taken = interleaved(
            [
                lambda: repeated(lambda: select(DEFAULT_TENANT, "free")),
                lambda: repeated(lambda: hmac.digest(key, message, "sha256")),
            ],
            rounds=rounds,
        )
        services.close()
    selects, digests = zip(*taken, strict=True)
    return ratio(selects, digests)


def repeated(call: Callable[[], object], *, times: int = 2_000) -> float:
    """Return the seconds of this thread that `times` calls take."""
    started = time.thread_time()
    for _ in range(times):
        call()
    return time.thread_time() - started


def make_peers() -> None:
    """Install the peers into their own environment."""
    if not (PEERS / "bin" / "python").exists():
        venv.create(PEERS, with_pip=True)
    subprocess.run(
        [PEERS / "bin" / "python", "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True
    )


def peers() -> dict[str, float]:
    """Return events per second of each peer; nothing, said aloud, when they are not installed."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        print("River, MABWiser and Vowpal Wabbit are not installed; `--peers` does that")
        return {}
    done = subprocess.run([python, "-c", PEER_PROGRAM], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"the peers' program failed:\n{done.stderr}")
        return {}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="11 rounds instead of 101")
    parser.add_argument("--peers", action="store_true", help="install the peers first")
    options = parser.parse_args(argv)
    if options.peers:
        make_peers()
    rounds = 11 if options.quick else 101
    found = figures(rounds=rounds) | {"select_hmacs": select_hmacs(rounds=rounds)} | peers()
    for name, figure in found.items():
        print(f"{name:22} {figure:,.3g}" if figure < 100 else f"{name:22} {figure:,.0f}")
    print(json.dumps({"bench": "learn", "figures": found}))
    return 0


if __name__ == "__main__":
    # NumPy reads this once, when it is loaded: start again with one thread.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        again = [sys.executable, "-m", "bench.learn", *sys.argv[1:]]
        sys.exit(subprocess.run(again).returncode)
    sys.exit(main())
