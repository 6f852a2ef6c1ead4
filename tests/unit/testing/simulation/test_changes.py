from __future__ import annotations

import pytest

from loopwright.testing.simulation import Schedule, Simulation


@pytest.mark.parametrize(
    "steps",
    [
        # The seed of the kill is one that takes what was not synced.
        "seed=298 restlessness=0.3 take_snapshot#15960790 kill#93911 roll_back#6675694",
        # The outcome comes from the very person who allows only to store and to analyze.
        "seed=1 restlessness=0.0 select#1 change_consent#1 report_outcome#0",
        "seed=1 restlessness=0.0 select#1 rotate_signing_key#1 feedback#2 retire_signing_key#3 feedback#4 kill#5",
        # A resume that the log refuses, and that the outbox tells later.
        "seed=1627 restlessness=0.02 select#6039201& move#11784995 feedback#8182380 break_engine#7908408 "
        "move#11760618",
        "seed=295 restlessness=0.02 break_engine#15641137 rotate_signing_key#1540435",
    ],
)
def test_a_change_that_was_answered_holds(steps: str) -> None:
    with Simulation() as simulation:
        assert simulation.run(Schedule.read(steps)) is None
