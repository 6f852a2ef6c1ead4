"""Two arms whose outcomes arrive at different speeds: what the status shows early, and which arm gets the traffic.

Arm `fast` converts 10 % of its decisions, each within a minute; arm `slow` converts 12 %, after up to 28 minutes. The
attribution window is 30 minutes and the default reward 0. A learner that counts what has arrived sees conversions
alone until the first windows close, prefers the fast arm, and shows means near 1. Forty decisions a minute for an
hour, through the doors of the embedded loop, with a clock moved by hand.

`early_bias`: the mean over runs of (shown mean - truth) at minute 20, in units of the shown standard error, of the worse
arm. `worse_share`: share of the decisions of minutes 10 to 60 that the worse arm, `fast`, gets.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.reward import RewardSpec
from loopwright.testing import ManualClock

RUNS: Final = 50
QUICK_RUNS: Final = 10
MINUTES: Final = 60
PER_MINUTE: Final = 40
EARLY: Final = 20
MINUTE_MS: Final = 60_000
TRUTH: Final = {"fast": 0.10, "slow": 0.12}
LONGEST_MS: Final = {"fast": 1 * MINUTE_MS, "slow": 28 * MINUTE_MS}
Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class Seen:
    """What one run showed at minute 20, by arm: mean and standard error, None where nothing was shown; and the share."""

    early: dict[str, tuple[float, float] | None]
    worse_share: float


def play(seed: int, folder: Path) -> Seen:
    """Return what one hour showed."""
    rng = random.Random(seed)
    clock = ManualClock(1_750_000_000_000)
    services = Services(load_settings(data_dir=folder), clock=clock, rng=random.Random(seed + 1))
    services.start()
    early: dict[str, tuple[float, float] | None] = {}
    chosen = {"fast": 0, "slow": 0}
    with Loop(services, DEFAULT_TENANT) as loop:
        spec = RewardSpec(metric="converted", window_s=30 * 60.0, default=0.0)
        loop.experiments.create("offer", arms=["fast", "slow"], reward=spec)
        coming: list[tuple[int, str]] = []
        for minute in range(MINUTES):
            for _ in range(PER_MINUTE):
                clock.advance(seconds=60 / PER_MINUTE)
                now_ms = clock.now_ms()
                while coming and coming[0][0] <= now_ms:
                    loop.agent.feedback(heapq.heappop(coming)[1], 1.0, metric="converted")
                selected = loop.agent.select("offer")
                arm = selected.arm.id
                if minute >= 10:
                    chosen[arm] += 1
                if rng.random() < TRUTH[arm]:
                    after_ms = int(rng.random() * LONGEST_MS[arm])
                    heapq.heappush(coming, (now_ms + after_ms, selected.request_id))
            assert loop.wait_until_learned()
            if minute + 1 == EARLY:
                for status in loop.experiments.status("offer").arms:
                    shown = None
                    if (
                        status.mean is not None
                        and status.low is not None
                        and status.high is not None
                    ):
                        shown = (status.mean, (status.high - status.low) / 2 / Z95)
                    early[status.arm_id] = shown
    return Seen(early, chosen["fast"] / sum(chosen.values()))


def bias(runs: Sequence[Seen], arm: str) -> float:
    """Return the mean error of what was shown of an arm, in its mean standard error; 0 where nothing was shown."""
    shown = [found for run in runs if (found := run.early[arm]) is not None]
    if not shown:
        return 0.0
    error = statistics.fmean(mean - TRUTH[arm] for mean, _ in shown)
    return abs(error) / statistics.fmean(se for _, se in shown)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs instead of {RUNS}")
    options = parser.parse_args(argv)
    runs: list[Seen] = []
    for seed in range(QUICK_RUNS if options.quick else RUNS):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(play(seed, Path(folder)))
    for arm in TRUTH:
        shown = [found for run in runs if (found := run.early[arm]) is not None]
        means = ", ".join(f"{mean:.3f} ± {se:.3f}" for mean, se in shown[:5])
        print(
            f"{arm}: truth {TRUTH[arm]:.2f}, shown in {len(shown)} of {len(runs)} runs: {means} …"
        )
    figures = {
        "early_bias": max(bias(runs, arm) for arm in TRUTH),
        "shown_share": statistics.fmean(
            run.early[arm] is not None for run in runs for arm in TRUTH
        ),
        "worse_share": statistics.fmean(run.worse_share for run in runs),
    }
    print(json.dumps({"bench": "delayed", "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
