"""`python -m loopwright.testing.simulation [--first N] [--schedules N] [--jobs N]`: run schedules and print what they find.

The last line is JSON: how many ran, how many violated an invariant, and how many ran in a second. Exit code 1 when one
violated an invariant.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time

from .schedule import Simulation


def main() -> int:
    """Run the schedules, on as many processes as asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--first", type=int, default=0, help="seed of the first schedule")
    asked.add_argument("--schedules", type=int, default=200, help="how many")
    asked.add_argument("--jobs", type=int, default=1, help="processes to share them between")
    asked.add_argument(
        "--core", type=int, help="processor to stay on; by default the first that may be used"
    )
    given = asked.parse_args()
    started = time.perf_counter()
    if given.jobs > 1:
        violations = _shared(given.first, given.schedules, given.jobs)
    else:
        # The simulated engines fail all the time, and Loopwright says so each time.
        logging.disable(logging.CRITICAL)
        _stay_on(given.core)
        violations = _run(given.first, given.schedules)
    seconds = time.perf_counter() - started
    figures = {
        "schedules": given.schedules,
        "violations": violations,
        "schedules_per_s": round(given.schedules / seconds, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if violations else 0


def _run(first: int, schedules: int) -> int:
    violations = 0
    with Simulation() as simulation:
        for failure in simulation.explore(range(first, first + schedules)):
            if failure is not None:
                violations += 1
                sys.stdout.write(f"{failure}\n")
                sys.stdout.flush()
    return violations


def _cores() -> list[int]:
    """Return the processors that this process may use; none on a system that does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _stay_on(core: int | None) -> None:
    """Keep every thread on one processor: only one runs at a time, and handing over to another core takes half again as long."""
    cores = _cores()
    if cores:
        os.sched_setaffinity(0, {core if core in cores else cores[0]})


def _shared(first: int, schedules: int, jobs: int) -> int:
    share = -(-schedules // jobs)
    cores = _cores() or [0]
    running = [
        subprocess.Popen(  # noqa: S603 - this module again
            [
                *(sys.executable, "-m", "loopwright.testing.simulation"),
                *("--first", str(start)),
                *("--schedules", str(min(share, first + schedules - start))),
                *("--core", str(cores[job % len(cores)])),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for job, start in enumerate(range(first, first + schedules, share))
    ]
    violations = 0
    for process in running:
        said, _ = process.communicate()
        # The last line is the figures, and all before it are failures.
        *failures, figures = said.splitlines() or ["{}"]
        # 1 says that schedules failed, which is a result; any other code, that the process did.
        if process.returncode not in (0, 1):
            raise SystemExit(f"a process ended with exit code {process.returncode}")
        sys.stdout.write("".join(f"{line}\n" for line in failures))
        violations += int(json.loads(figures)["violations"])
    return violations


if __name__ == "__main__":
    sys.exit(main())
