"""Regret on handwritten digits, of the policy that `auto` gives to any experiment with a context.

1,797 images in five shuffled passes are 8,985 rounds: ten arms, one per digit; the context is the 64 pixels
scaled to unit length; the reward is 1 for the digit shown. Defaults throughout, the exploration floor of 1 %
included. Once learning from every event before the next round, once in batches of 256 whose feedback is 500
rounds late on average and out of order.
"""

from __future__ import annotations

import argparse
import gzip
import heapq
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.policies import Allocation, Batch, Policy, Problem, make, resolve

PASSES: Final = 5
SEEDS: Final = 5
PIXELS: Final = 64


@dataclass(frozen=True)
class Digits:
    """Images as unit vectors f64[n, 64], and the digit each shows."""

    images: NDArray[np.float64]
    labels: NDArray[np.int64]


def load() -> Digits:
    """Return the bundled digits."""
    packed = resources.files("loopwright").joinpath("data/digits.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    images = rows[:, :PIXELS]
    return Digits(
        images / np.linalg.norm(images, axis=1, keepdims=True), rows[:, PIXELS].astype(np.int64)
    )


def play(
    policy: Policy, problem: Problem, digits: Digits, *, seed: int, batch: int, delay: float
) -> int:
    """Return how many rounds of a shuffled run earned nothing.

    Feedback of a round arrives `delay` rounds later on average (exponentially distributed), and is learned
    once `batch` have arrived.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(digits.labels)) for _ in range(PASSES)]).tolist()
    uniforms = rng.random(len(order)).tolist()
    delays = (rng.exponential(delay, len(order)) if delay else np.zeros(len(order))).tolist()
    vectors = [image.astype("<f8").tobytes() for image in digits.images]
    labels = digits.labels.tolist()
    allocation = Allocation.even(len(problem.arms))
    sums = policy.empty(problem)
    served = policy.prepare(problem, sums, allocation)
    late: list[tuple[float, int, int, float, float]] = []
    arrived: list[tuple[float, int, int, float, float]] = []
    regret = 0
    for step, image in enumerate(order):
        draw = served.select(vectors[image], uniforms[step])
        reward = float(draw.arm == labels[image])
        regret += reward == 0.0
        heapq.heappush(late, (step + delays[step], image, draw.arm, reward, draw.propensity))
        while late and late[0][0] <= step:
            arrived.append(heapq.heappop(late))
        if len(arrived) >= batch:
            _, images, arms, rewards, propensities = zip(*arrived, strict=True)
            learned = Batch.of(
                arms, rewards, propensities=propensities, vectors=[vectors[i] for i in images]
            )
            sums = policy.learn(problem, sums, learned)
            served = policy.prepare(problem, sums, allocation, previous=served)
            arrived = []
    return regret


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the same five seeds, without the yardstick"
    )
    options = parser.parse_args(argv)
    # Read by NumPy when the two processes start: one thread each.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    digits = load()
    name = resolve("auto", reward_type="binary", has_context=True)
    problem = Problem(arms=tuple("0123456789"), dimension=PIXELS + 1)
    figures: dict[str, float] = {}
    runs = [("digits", name, 1, 0.0), ("digits_delayed", name, 256, 500.0)]
    if not options.quick:
        runs += [("linucb", "LinUCB", 1, 0.0), ("linucb_delayed", "LinUCB", 256, 500.0)]
        runs += [("greedy", "EpsilonGreedy", 1, 0.0), ("uniform", "Uniform", 256, 0.0)]
    for figure, policy_name, batch, delay in runs:
        started = time.perf_counter()
        policy = make(policy_name, {})
        one = partial(play, policy, problem, digits, batch=batch, delay=delay)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            found = [done.result() for done in [pool.submit(one, seed=s) for s in range(SEEDS)]]
        figures[figure] = statistics.median(found)
        took = time.perf_counter() - started
        print(
            f"{figure:15} {policy_name:14} batch {batch:3}, delay {delay:3.0f}: regret "
            f"{figures[figure]:.0f} [{min(found)}-{max(found)}] of 8,985 rounds, {took:.1f} s"
        )
    print(json.dumps({"bench": "regret", "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
