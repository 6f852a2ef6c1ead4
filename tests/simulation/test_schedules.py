"""Two thousand schedules of the whole loop violate no invariant."""

from __future__ import annotations

import subprocess
import sys


def test_two_thousand_schedules_violate_no_invariant() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loopwright.testing.simulation"),
            *("--schedules", "2000", "--jobs", "2"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
