"""`python -m loopwright.testing.simulation [--first N] [--schedules N] [--jobs N]`: run schedules and print what they find.

The last line is JSON: how many ran, how many violated an invariant, and how many ran in a second. Exit code 1 when one
violated an invariant.
"""

from __future__ import annotations

import argparse
import json
import logging
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
    given = asked.parse_args()
    started = time.perf_counter()
    if given.jobs > 1:
        violations = _shared(given.first, given.schedules, given.jobs)
    else:
        # The simulated engines fail all the time, and Loopwright says so each time.
        logging.disable(logging.CRITICAL)
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


def _shared(first: int, schedules: int, jobs: int) -> int:
    share = -(-schedules // jobs)
    running = [
        subprocess.Popen(  # noqa: S603 - this module again
            [
                *(sys.executable, "-m", "loopwright.testing.simulation"),
                *("--first", str(start)),
                *("--schedules", str(min(share, first + schedules - start))),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for start in range(first, first + schedules, share)
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
