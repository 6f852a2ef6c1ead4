"""`python tests/simulation/november.py [SEEDS]`: run the simulation on the code of November 2026.

It has faults that are mended since: a pause that is lost between two checkpoints, a sweep that deletes what a report is
reading, a thread that one OSError ends for good. Prints for each invariant the first schedule that violates it, and the
shortest that does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

COMMIT: Final = "96c98c3"
HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]

RUN: Final = """
import logging, sys
from loopwright.testing.simulation import Simulation

logging.disable(logging.CRITICAL)
first, last, only = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
found = {}
share = {"reports": 1.0, "rest": 0.0}[only]
import loopwright.testing.simulation.schedule as schedule
schedule.REPORTING_SHARE = share
with Simulation() as simulation:
    for n, seed in enumerate(range(first, last), 1):
        violation = simulation.run(simulation.schedule(seed))
        if violation is None or violation.invariant in found:
            continue
        shortest, violation = simulation.shrink(simulation.schedule(seed), violation)
        found[violation.invariant] = seed
        print(f"schedule {n}, seed {seed}: {violation}", flush=True)
        print(f"  {len(shortest.steps)} operations: {shortest}", flush=True)
"""


def lay_over(folder: Path) -> Path:
    """Put this simulation over the old code; return the folder to import from."""
    archive = subprocess.run(
        ["git", "archive", COMMIT, "src"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    package = folder / "src" / "loopwright"
    for module in ("testing.py", "testing_ports.py"):
        (package / module).unlink()
    shutil.copytree(ROOT / "src" / "loopwright" / "testing", package / "testing")
    # The contract suites beside it name ports that the old code does not have.
    (package / "testing" / "__init__.py").write_text("")
    shutil.copy(HERE / "november_parts.py", package / "testing" / "simulation" / "parts.py")
    return folder / "src"


def main() -> int:
    """Run it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=300)
    asked.add_argument("--reports", type=int, default=60)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = lay_over(Path(folder))
        for only, n in (("rest", given.seeds), ("reports", given.reports)):
            sys.stdout.write(f"{n} schedules, {only}:\n")
            subprocess.run(
                [sys.executable, "-c", RUN, "0", str(n), only],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(source)},
                check=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
