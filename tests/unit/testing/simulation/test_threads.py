from __future__ import annotations

import threading

import pytest
from tests.unit.testing.simulation.test_kernel import run

from loopwright.testing.simulation.kernel import Kernel
from loopwright.testing.simulation.threads import (
    Condition,
    Event,
    Executor,
    Lock,
    Thread,
    Threading,
)


def test_a_lock_keeps_two_threads_apart() -> None:
    inside: list[int] = []

    def main(kernel: Kernel) -> None:
        lock = Lock()

        def enter(n: int) -> None:
            with lock:
                before = len(inside)
                kernel.point("inside")
                inside.append(n)
                assert len(inside) == before + 1

        threads = [Thread(target=enter, args=[n]) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert run(main).ended == []
    assert sorted(inside) == [0, 1, 2, 3, 4]


def test_a_condition_wakes_who_waits_for_it() -> None:
    heard: list[str] = []

    def main(kernel: Kernel) -> None:
        news = Condition()

        def listen() -> None:
            with news:
                news.wait_for(lambda: bool(told))
                heard.append("news")

        told: list[int] = []
        listener = Thread(target=listen)
        listener.start()
        kernel.nap(1.0)
        with news:
            told.append(1)
            news.notify_all()
        listener.join()

    run(main)
    assert heard == ["news"]


def test_a_reentrant_lock_is_free_after_as_many_releases_as_it_was_taken() -> None:
    def main(kernel: Kernel) -> None:
        lock = Lock(is_reentrant=True)
        with lock:
            with lock:
                assert lock.locked()
            assert lock.locked()
        assert not lock.locked()

    run(main)


def test_a_lock_that_is_held_is_not_waited_for_unless_asked() -> None:
    answers: list[bool] = []

    def main(kernel: Kernel) -> None:
        lock = Lock()
        lock.acquire()

        def other() -> None:
            answers.append(lock.acquire(blocking=False))
            answers.append(lock.acquire(timeout=2.0))

        thread = Thread(target=other)
        thread.start()
        thread.join()
        assert kernel.now_s >= 2.0

    run(main)
    assert answers == [False, False]


def test_a_release_by_a_thread_that_does_not_hold_the_lock_is_an_error() -> None:
    def main(kernel: Kernel) -> None:
        with pytest.raises(RuntimeError, match="does not hold"):
            Lock().release()

    run(main)


def test_one_of_two_waiters_is_told_and_the_other_goes_on_waiting() -> None:
    told: list[bool] = []

    def main(kernel: Kernel) -> None:
        news = Condition()

        def listen() -> None:
            with news:
                told.append(news.wait(timeout=5.0))

        threads = [Thread(target=listen) for _ in range(2)]
        for thread in threads:
            thread.start()
        kernel.nap(1.0)
        with news:
            news.notify()
        for thread in threads:
            thread.join()

    run(main)
    assert sorted(told) == [False, True]


def test_a_cleared_event_is_waited_for_again() -> None:
    def main(kernel: Kernel) -> None:
        event = Event()
        event.set()
        assert event.wait(1.0)
        event.clear()
        assert not event.wait(1.0)

    run(main)


def test_calls_of_a_pool_run_one_after_the_other_and_keep_their_errors() -> None:
    order: list[int] = []

    def main(kernel: Kernel) -> None:
        def work(n: int) -> int:
            kernel.point("work")
            order.append(n)
            return 10 // n

        with Executor() as pool:
            futures = [pool.submit(work, n) for n in (1, 0, 2)]
        assert [futures[0].result(), futures[2].result()] == [10, 5]
        with pytest.raises(ZeroDivisionError):
            futures[1].result()

    run(main)
    assert order == [1, 0, 2]


def test_outside_a_simulation_the_names_make_real_threads_and_locks() -> None:
    names = Threading()
    assert isinstance(names.Event(), threading.Event)
    assert isinstance(names.Thread(), threading.Thread)
    assert isinstance(names.RLock(), type(threading.RLock()))
    assert names.get_ident() == threading.get_ident()
