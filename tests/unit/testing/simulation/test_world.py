from __future__ import annotations

import random
from pathlib import Path

from loopwright.eventlog import writer
from loopwright.testing.simulation import Operation, Schedule, Simulation, Violated, World
from loopwright.testing.simulation.kernel import Kernel
from loopwright.testing.simulation.world import SimulatedClock, clean


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


def test_a_violation_says_what_was_expected_and_found() -> None:
    violation = Violated("erased = gone", expected="nobody", found="p1")
    assert str(violation) == "erased = gone: expected nobody, found p1"


def test_the_wall_clock_jumps_and_timeouts_do_not_notice() -> None:
    kernel = Kernel(random.Random(1))
    clock = SimulatedClock(kernel)
    began = clock.now_ms()
    clock.jump(seconds=-90.0)
    assert (clock.now_ms(), kernel.now_s) == (began - 90_000, 0.0)
    kernel.now_s = 1.5
    assert clock.now_ms() == began - 88_500


def test_a_clean_folder_has_the_first_keys_alone(tmp_path: Path) -> None:
    for name in ("keys.json", "admin.key", "log.db"):
        (tmp_path / name).write_text("x")
    (tmp_path / "warehouse" / "feedback").mkdir(parents=True)
    clean(tmp_path, b"first")
    assert (tmp_path / "keys.json").read_bytes() == b"first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["admin.key", "keys.json"]


def test_a_crash_at_any_point_is_followed_by_a_start_that_is_sound(simulation: Simulation) -> None:
    for seed in range(4):
        steps = f"crash#{seed} feedback#1 feedback_batch#2"
        assert simulation.run(Schedule.read(f"seed={seed} restlessness=0.1 {steps}")) is None
