from __future__ import annotations

import random

from loopwright.core.events import Received
from loopwright.testing.simulation import Operation, Schedule, Simulation, World
from loopwright.testing.simulation.operations import EXPERIMENTS


def test_the_parts_show_the_log_the_experiments_and_what_they_have_learned() -> None:
    found: list[object] = []

    def look(world: World) -> None:
        parts = world.parts
        assert {experiment.id for experiment in parts.experiments()} == set(EXPERIMENTS)
        assert parts.complaints() == ""
        offsets = [offset for offset, _ in parts.facts()]
        assert offsets == list(range(1, len(offsets) + 1))
        found.extend(fact for _, fact in parts.facts() if isinstance(fact, Received))
        assert all(parts.dump(key[1]) == state for key, state in parts.replayed().items())

    def ask(world: World, rng: random.Random) -> None:
        world.settle()
        world.call(lambda: look(world))

    with Simulation(operations=[Operation("look", ask, by="controller")]) as simulation:
        schedule = Schedule.read("seed=1 restlessness=0.0 feedback#1 feedback#2 look#3")
        assert simulation.run(schedule) is None
    assert len(found) == 2
