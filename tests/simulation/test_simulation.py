from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from loopwright.eventlog import writer
from loopwright.testing.simulation import (
    Invariant,
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


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation() as simulation:
        yield simulation


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


def test_an_answer_that_is_no_error_of_ours_is_a_violation() -> None:
    def fail(world: World, rng: random.Random) -> None:
        raise KeyError("what")

    with Simulation(operations=[Operation("fail", fail)]) as simulation:
        found = simulation.run(Schedule.read("seed=1 restlessness=0.0 fail#1"))
    assert found is not None
    assert (found.invariant, "KeyError" in str(found)) == ("clients are answered", True)


def test_a_thread_that_ends_unseen_is_a_violation() -> None:
    def start_a_thread(world: World, rng: random.Random) -> None:
        def fail() -> None:
            raise OSError("the disk is gone")

        vars(writer)["threading"].Thread(target=fail, name="sweeper").start()

    with Simulation(operations=[Operation("thread", start_a_thread)]) as simulation:
        found = simulation.run(Schedule.read("seed=1 restlessness=0.0 thread#1 wait#2"))
    assert found is not None
    assert found.invariant == "every thread alive or named"
    assert "sweeper" in str(found)


def test_invariants_of_others_are_checked_after_each_restart() -> None:
    checked: list[int] = []

    def count(world: World) -> None:
        checked.append(world.starts)

    with Simulation(invariants=[Invariant("count", count)]) as simulation:
        assert simulation.run(Schedule.read("seed=1 restlessness=0.0 select#1 restart#2")) is None
    assert checked == [2, 2, 3]


def test_a_violation_says_what_was_expected_and_found() -> None:
    violation = Violated("erased = gone", expected="nobody", found="p1")
    assert str(violation) == "erased = gone: expected nobody, found p1"


def test_a_kept_snapshot_outlasts_a_loss_of_power(simulation: Simulation) -> None:
    # The seed of the kill is one that takes what was not synced.
    steps = "seed=298 restlessness=0.3 take_snapshot#15960790 kill#93911 roll_back#6675694"
    assert simulation.run(Schedule.read(steps)) is None


def test_what_a_person_withdrew_is_not_learned_and_a_retired_key_is_refused(
    simulation: Simulation,
) -> None:
    # The seeds let the outcome come from the very person who allows only to store and to analyze.
    consent = "seed=1 restlessness=0.0 select#1 change_consent#1 report_outcome#0"
    assert simulation.run(Schedule.read(consent)) is None
    keys = "seed=1 restlessness=0.0 select#1 rotate_signing_key#1 feedback#2"
    retired = f"{keys} retire_signing_key#3 feedback#4 kill#5 feedback#6"
    assert simulation.run(Schedule.read(retired)) is None
