"""Dawid and Skene's consensus of 100 000 labels: time against crowd-kit's in the same run, and accuracy.

20 000 items of three classes, five labels each by 300 workers: 69 % good, 17 % who do not look, 14 % who lie.
crowd-kit runs in an environment of its own (`--peers` makes it); without it no ratio is reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.stats.agreement import Labels, dawid_skene, majority

PEER: Final = Path(__file__).parent / "data" / "peers-crowdkit"
PEER_VERSION: Final = "1.4.2"
ITEMS: Final = 20_000
WORKERS: Final = 300
CLASSES: Final = 3

# Reads the labels before the clock starts; answers with seconds and the class of each item.
PEER_PROGRAM: Final = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import pandas
from crowdkit.aggregation import DawidSkene
frame = pandas.read_csv(sys.argv[1], dtype=str)
for line in sys.stdin:
    started = time.perf_counter()
    found = DawidSkene().fit_predict(frame)
    print(json.dumps({"seconds": time.perf_counter() - started, "best": found.to_dict()}), flush=True)
"""


@dataclass(frozen=True)
class Crowd:
    """Labels with the truth they were made from."""

    items: list[str]
    workers: list[str]
    labels: list[str]
    truth: dict[str, str]
    skills: NDArray[np.float64]

    def accuracy(self, best: dict[Any, Any]) -> float:
        """Return the share of the items that `best` gets right."""
        return statistics.fmean(best[item] == truth for item, truth in self.truth.items())


def crowd(rng: np.random.Generator) -> Crowd:
    """Return a crowd of the kind described at the top."""
    truth = rng.integers(CLASSES, size=ITEMS)
    kind = rng.choice(3, size=WORKERS, p=(0.69, 0.17, 0.14))
    good = rng.beta(17, 3, size=WORKERS)
    skills = np.choose(kind, (good, np.full(WORKERS, 1 / CLASSES), np.full(WORKERS, 0.1)))
    drawn = np.repeat(np.arange(ITEMS), 5) * WORKERS + rng.integers(WORKERS, size=5 * ITEMS)
    items, workers = np.divmod(np.unique(drawn), WORKERS)
    is_right = rng.random(len(items)) < skills[workers]
    wrong = (truth[items] + rng.integers(1, CLASSES, size=len(items))) % CLASSES
    labels = np.where(is_right, truth[items], wrong)
    return Crowd(
        [f"item-{item}" for item in items],
        [f"worker-{worker}" for worker in workers],
        [f"class-{label}" for label in labels],
        {f"item-{item}": f"class-{label}" for item, label in enumerate(truth)},
        skills,
    )


class Peer:
    """crowd-kit in a process of its own, ready to be timed."""

    def __init__(self, made: Crowd, folder: Path) -> None:
        table = folder / "labels.csv"
        rows = zip(made.items, made.workers, made.labels, strict=True)
        table.write_text("task,worker,label\n" + "".join(f"{i},{w},{c}\n" for i, w, c in rows))
        self._process = subprocess.Popen(
            [PEER / "bin" / "python", "-c", PEER_PROGRAM, table],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self) -> tuple[float, dict[str, str]]:
        """Return the seconds of one estimation, and its labels."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["seconds"], answer["best"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def make_peer() -> None:
    """Install crowd-kit into its own environment, once."""
    if not (PEER / "bin" / "python").exists():
        venv.create(PEER, with_pip=True)
    subprocess.run(
        [PEER / "bin" / "python", "-m", "pip", "install", "-q", f"crowd-kit=={PEER_VERSION}"],
        check=True,
    )


def has_peer() -> bool:
    """Say whether crowd-kit is there to compare with."""
    python = PEER / "bin" / "python"
    if not python.exists():
        return False
    return (
        subprocess.run([python, "-c", "import crowdkit"], stderr=subprocess.DEVNULL).returncode == 0
    )


def ours(made: Crowd) -> tuple[float, dict[Any, Any]]:
    """Return the seconds of one estimation from plain lists, and its labels."""
    started = time.perf_counter()
    best = dawid_skene(Labels.of(made.items, made.workers, made.labels)).best()
    return time.perf_counter() - started, best


def figures(made: Crowd, *, rounds: int) -> dict[str, float]:
    """Return our figures, and the peer's beside them when it is installed; the runs alternate."""
    taken, best = ours(made)
    found = {
        "labels": float(len(made.labels)),
        "ds_accuracy": made.accuracy(best),
        "majority_accuracy": made.accuracy(
            majority(Labels.of(made.items, made.workers, made.labels))
        ),
    }
    if not has_peer():
        print("crowd-kit is not installed, so there is no ds_ratio; run once with --peers")
        return {**found, "ds_s": min(taken, *(ours(made)[0] for _ in range(rounds)))}
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(made, Path(folder))
        pairs = [(ours(made)[0], peer.run()) for _ in range(rounds)]
        peer.close()
    seconds = [(mine, peer_s) for mine, (peer_s, _) in pairs]
    theirs = pairs[0][1][1]
    return {
        **found,
        "ds_ratio": statistics.median(mine / peer_s for mine, peer_s in seconds),
        "ds_s": statistics.median(mine for mine, _ in seconds),
        "crowdkit_s": statistics.median(peer_s for _, peer_s in seconds),
        "crowdkit_accuracy": made.accuracy(theirs),
        "same_as_crowdkit": statistics.fmean(best[item] == label for item, label in theirs.items()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of seven")
    parser.add_argument("--peers", action="store_true", help="install crowd-kit beside us first")
    options = parser.parse_args(argv)
    if options.peers:
        make_peer()
    found = figures(crowd(np.random.default_rng(0)), rounds=3 if options.quick else 7)
    for name, figure in found.items():
        print(f"{name:20} {figure:,.4g}")
    print(json.dumps({"bench": "trust", "figures": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
