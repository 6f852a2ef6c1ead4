"""How many schedules of the simulation run in a second, and how many violate an invariant.

20,000 schedules, 2,000 under `--quick`; the seeds begin where those of `make test` end. They run in parts, each in
processes of its own, with a line on standard error after each; a part whose process fails ends the run. The exit code
is 1 when a schedule violated an invariant.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Final

SCHEDULES: Final = 20_000
QUICK: Final = 2_000
FIRST: Final = 2_000
"""The seeds below it are run by every `make test`."""
PART: Final = 500
"""Schedules in one run of the processes, which takes about half a minute."""


def main() -> int:
    """Run the schedules and print the line of figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("--schedules", type=int, help="how many, in place of either number")
    given = asked.parse_args()
    schedules = given.schedules or (QUICK if given.quick else SCHEDULES)
    violations, began = 0, time.perf_counter()
    for first in range(FIRST, FIRST + schedules, PART):
        part = min(PART, FIRST + schedules - first)
        violations += run(first, part)
        seconds = time.perf_counter() - began
        done = first + part - FIRST
        print(
            f"{done} of {schedules}: {violations} violations, {done / seconds:.1f}/s",
            file=sys.stderr,
            flush=True,
        )
    figures = {
        "schedules": schedules,
        "violations": violations,
        "schedules_per_s": round(schedules / (time.perf_counter() - began), 1),
    }
    print(json.dumps({"bench": "simulate", "figures": figures}))
    return 1 if violations else 0


def run(first: int, schedules: int) -> int:
    """Run the schedules from seed `first` on and print those that fail; return how many."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loopwright.testing.simulation"),
            *("--first", str(first), "--schedules", str(schedules)),
            *("--jobs", str(os.cpu_count() or 1)),
        ],
        # DuckDB lists what it did not free when a process ends; a failure of the process itself is shown below.
        capture_output=True,
        text=True,
    )
    # 1 says that schedules failed, which is a result.
    if done.returncode not in (0, 1) or not done.stdout.strip():
        sys.stderr.write(done.stderr)
        raise SystemExit(f"schedules from {first} on: ended with exit code {done.returncode}")
    *failures, last = done.stdout.strip().splitlines()
    for line in failures:
        print(line, flush=True)
    return int(json.loads(last)["violations"])


if __name__ == "__main__":
    sys.exit(main())
