from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from loopwright.testing.simulation.kernel import Deadlock, Kernel
from loopwright.testing.simulation.threads import Event, Lock, Thread


def run(main: Callable[[Kernel], object], *, seed: int = 1, restlessness: float = 0.3) -> Kernel:
    kernel = Kernel(random.Random(seed), restlessness=restlessness)

    def control() -> None:
        try:
            main(kernel)
        finally:
            kernel.reap()

    kernel.run(control)
    return kernel


def two_counters(seed: int) -> list[str]:
    order: list[str] = []

    def main(kernel: Kernel) -> None:
        def count(name: str) -> None:
            for n in range(5):
                kernel.point("count")
                order.append(f"{name}{n}")

        threads = [Thread(target=count, args=[name]) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run(main, seed=seed)
    return order


def test_equal_seeds_give_equal_interleavings_and_others_do_not() -> None:
    assert two_counters(3) == two_counters(3)
    assert len({tuple(two_counters(seed)) for seed in range(20)}) > 5


def test_threads_that_wait_for_each_other_are_a_deadlock() -> None:
    def main(kernel: Kernel) -> None:
        first, second = Lock(), Lock()

        def take(a: Lock, b: Lock) -> None:
            with a:
                both.append(1)
                kernel.wait(lambda: len(both) == 2)
                with b:
                    pass

        both: list[int] = []
        Thread(target=take, args=[first, second], name="left").start()
        right = Thread(target=take, args=[second, first], name="right")
        right.start()
        right.join()

    with pytest.raises(Deadlock, match="left, right"):
        run(main)


def test_time_jumps_to_the_next_timeout_when_every_thread_waits() -> None:
    woken: list[float] = []

    def main(kernel: Kernel) -> None:
        event = Event()
        assert not event.wait(5.0)
        woken.append(kernel.now_s)

    run(main)
    assert 5.0 <= woken[0] < 5.1


def test_a_crash_ends_every_thread_and_no_handler_stops_it() -> None:
    reached: list[str] = []

    def main(kernel: Kernel) -> None:
        def stubborn() -> None:
            for _ in range(1000):
                try:
                    kernel.point("work")
                except Exception:  # noqa: BLE001 - what the test is about
                    reached.append("caught")
            reached.append("the end")

        threads = [Thread(target=stubborn) for _ in range(3)]
        for thread in threads:
            thread.start()
        kernel.nap(0.001)
        kernel.reap()
        assert not any(thread.is_alive() for thread in threads)

    run(main)
    assert reached == []


def test_an_exception_that_ends_a_thread_is_kept_with_its_name() -> None:
    def main(kernel: Kernel) -> None:
        def fail() -> None:
            raise OSError("the disk is gone")

        failing = Thread(target=fail, name="housekeeping")
        failing.start()
        failing.join()

    kernel = run(main)
    assert [(task.name, str(task.error)) for task in kernel.ended] == [
        ("housekeeping", "the disk is gone")
    ]
