"""How many schedules of the simulation run in a second, and how many violate an invariant.

20,000 schedules, 2,000 under `--quick`; the seeds begin where those of `make test` end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Final

SCHEDULES: Final = 20_000
QUICK: Final = 2_000
FIRST: Final = 2_000
"""The seeds below it are run by every `make test`."""


def main() -> None:
    """Run the schedules and print the line of figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true")
    schedules = QUICK if asked.parse_args().quick else SCHEDULES
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loopwright.testing.simulation"),
            *("--first", str(FIRST), "--schedules", str(schedules)),
            *("--jobs", str(os.cpu_count() or 1)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    *failures, last = done.stdout.strip().splitlines()
    for line in failures:
        print(line)
    figures = json.loads(last)
    print(json.dumps({"bench": "simulate", "figures": figures}))


if __name__ == "__main__":
    main()
