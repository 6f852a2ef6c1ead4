from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from loopwright.eventlog import writer
from loopwright.testing.simulation import Operation, Schedule, Simulation, World
from loopwright.testing.simulation.substitution import Substitution


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """One for each test here: another that is still entered would have put its names in place already."""
    with Simulation() as simulation:
        yield simulation


def test_threads_outside_the_simulation_get_real_locks_and_real_time(
    simulation: Simulation,
) -> None:
    lock = vars(writer)["threading"].Lock()
    assert isinstance(lock, type(threading.Lock()))
    before = time.perf_counter()
    assert before <= vars(writer)["perf_counter"]() <= time.perf_counter()


def test_simulations_may_be_nested(simulation: Simulation) -> None:
    with Simulation() as inner:
        assert inner.run(Schedule.read("seed=1 restlessness=0.0 select#1")) is None
    assert simulation.run(Schedule.read("seed=1 restlessness=0.0 select#1")) is None


def test_the_modules_have_their_own_names_again_afterwards() -> None:
    before = dict(vars(writer))
    with Substitution():
        assert vars(writer)["threading"] is not before["threading"]
    assert vars(writer) == before


def test_inside_a_schedule_time_stands_still_but_for_the_points_that_are_passed() -> None:
    seen: list[float] = []

    def look(world: World, rng: random.Random) -> None:
        seen.append(vars(writer)["perf_counter"]())

    operation = Operation("look", look, by="controller")
    with Simulation(operations=[operation]) as simulation:
        steps = "look#1 wait#2 look#3"
        assert simulation.run(Schedule.read(f"seed=1 restlessness=0.0 {steps}")) is None
    first, second = seen
    # Less than a minute since the start, whatever the clock of this machine says.
    assert 0 < first < second < 60
