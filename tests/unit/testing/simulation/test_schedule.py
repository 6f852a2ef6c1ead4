from __future__ import annotations

import random

import pytest

from loopwright.testing.simulation import (
    Operation,
    Schedule,
    Simulation,
    Violated,
    World,
)

STEPS = (
    "seed=5 restlessness=0.3 select#1& feedback#2 report_typed#3& move#4 crash#5 feedback#6& "
    "feedback_batch#7 wait#8 kill#9 retry#10 erase#11"
)


def test_a_schedule_passes_the_same_points_each_time(simulation: Simulation) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        simulation.run(Schedule.read(STEPS), trace=trace)
    assert len(traces[0]) > 200
    assert traces[0] == traces[1]


def test_a_seed_makes_one_schedule_and_its_text_gives_it_back(simulation: Simulation) -> None:
    schedule = simulation.schedule(11)
    assert schedule == simulation.schedule(11)
    assert Schedule.read(str(schedule)) == schedule


def break_a_promise(world: World, rng: random.Random) -> None:
    """Tell a client that feedback is stored that is not."""
    for sent in world.book.sent.values():
        sent.is_acknowledged = True
    world.book.reported[world.new_id("t")] = "user-1"


def test_a_violation_is_shrunk_to_the_operations_it_takes_and_printed_as_a_program() -> None:
    lie = Operation("lie", break_a_promise, weight=3)
    with Simulation(operations=[lie]) as simulation:
        failures = (failure for failure in simulation.explore(range(50)) if failure is not None)
        failure = next(failures)
        assert [step.operation for step in failure.shortest.steps] == ["lie"]
        assert failure.violation.invariant == "acknowledged = stored once"
        assert f'replay("{failure.shortest}")' in str(failure)
        again = simulation.run(failure.shortest)
    assert str(again) == str(failure.violation)


@pytest.mark.parametrize(
    "text", ["seed=7 restlessness=0.3 ", "seed=7 restlessness=0.0 kill#1 a#2&"]
)
def test_a_text_is_a_schedule_and_the_same_text_again(text: str) -> None:
    assert str(Schedule.read(text)) == text


def test_shrinking_keeps_only_a_schedule_that_fails_in_the_same_way(
    simulation: Simulation,
) -> None:
    schedule = Schedule.read("seed=1 restlessness=0.0 select#1 feedback#2 wait#3")
    # Nothing of it fails in any way, so nothing may be left out.
    found = Violated("revoked = refused", expected="a refusal", found="a principal")
    assert simulation.shrink(schedule, found) == (schedule, found)
