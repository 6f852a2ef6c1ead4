"""Two thousand schedules of the whole loop violate no invariant."""

from __future__ import annotations

import os
import subprocess
import sys


def test_two_thousand_schedules_violate_no_invariant() -> None:
    # Not measured for coverage, which would make a minute of it five: other tests cover what it runs.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loopwright.testing.simulation"),
            *("--schedules", "2000", "--jobs", "2"),
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
