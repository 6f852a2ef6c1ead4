"""Real threads that run one at a time, in an order that a seed decides.

A thread gives way only where threads meet: when it takes or releases a lock, waits, starts another thread, or calls an
engine. Between two such points it runs alone, so equal seeds give equal interleavings, as in Microsoft's Coyote or
Rust's shuttle. Time is simulated too: it passes a little at each point, and jumps to the next timeout when every thread
waits.
"""

from __future__ import annotations

import _thread
import random
import threading
from collections.abc import Callable
from typing import Any, Final

TICK_S: Final = 0.000_05
"""Time that passes at each point: a call of an engine costs about this."""

_STEPS_AT_MOST: Final = 400_000
_HELD_SHARE: Final = 0.2
_HELD_STEPS: Final = 80


class Crash(BaseException):
    """The simulated process ends here. Not an `Exception`, so that no handler of the code under test stops it."""


class Deadlock(Exception):
    """Every thread waits and no timeout is left."""


class Task:
    """One simulated thread."""

    __slots__ = (
        "baton",
        "deadline",
        "error",
        "held_until",
        "is_done",
        "is_mortal",
        "is_napping",
        "name",
        "run",
        "wakes",
    )

    def __init__(self, name: str, run: Callable[[], object], *, is_mortal: bool) -> None:
        self.name = name
        self.run = run
        self.is_mortal = is_mortal
        self.baton = _thread.allocate_lock()
        self.baton.acquire()
        self.wakes: Callable[[], bool] | None = None
        """What it waits for; None when it can run."""
        self.deadline: float | None = None
        self.is_napping = False
        self.is_done = False
        self.held_until = 0
        """Step before which it does not go on while another can: it was preempted, or its disk is slow."""
        self.error: BaseException | None = None


class Kernel:
    """Runs tasks one at a time. `restlessness` is the probability of a switch at each point."""

    def __init__(self, rng: random.Random, *, restlessness: float = 0.1) -> None:
        self.rng = rng
        self.restlessness = restlessness
        self.machine: Any = None
        """The engines of the process, for those who make engines on its threads."""
        self.now_s = 0.0
        self.tasks: list[Task] = []
        self.ended: list[Task] = []
        """Tasks of the process that ended because of an exception."""
        self.is_crashed = False
        self.is_stuck = ""
        """Which task ran on without an end, when one did; the process is then ended."""
        self._is_deadlocked = ""
        self.at_point: Callable[[str], None] | None = None
        """Called at each point of a mortal task; may crash the process."""
        self.trace: list[str] | None = None
        self.steps = 0
        self._current: Task | None = None
        self._ident = 0
        self._finished = _thread.allocate_lock()

    # From outside

    def run(self, main: Callable[[], object]) -> None:
        """Run `main` as the task that controls the others, until it returns; raises what it raises."""
        global _active
        task = Task("controller", main, is_mortal=False)
        self.tasks.append(task)
        self._finished.acquire()
        self._current, _active = task, self
        _hand_to_a_worker(self, task)
        task.baton.release()
        self._finished.acquire()
        _active = None
        if task.error is not None:
            raise task.error

    # From a task

    def spawn(self, name: str, run: Callable[[], object], *, is_mortal: bool = True) -> Task:
        """Make a task that can run from now on."""
        task = Task(name, run, is_mortal=is_mortal)
        self.tasks.append(task)
        _hand_to_a_worker(self, task)
        return task

    def point(self, place: str) -> None:
        """Let another task run, if the seed says so. Raises `Crash` in a process that has crashed."""
        me = self._me()
        self.steps += 1
        if me.is_mortal:
            # A loop that never ends passes points for ever; it is ended like a crash and reported as stuck.
            if self.steps > _STEPS_AT_MOST and not self.is_stuck:
                self.is_stuck = f"no end after {_STEPS_AT_MOST} steps: {me.name} at {place}"
                self.is_crashed = True
            if self.is_crashed:
                raise Crash
            if self.trace is not None:
                self.trace.append(f"{me.name} {place}")
            if self.at_point is not None:
                self.at_point(place)
        # Time passes at every point: otherwise a loop that polls for a deadline would never reach it.
        self.now_s += TICK_S
        if len(self.tasks) > 1 and self.rng.random() < self.restlessness:
            # A race needs one thread to stand still in its window while another goes a long way.
            if self.rng.random() < _HELD_SHARE:
                me.held_until = self.steps + int(self.rng.expovariate(1 / _HELD_STEPS))
            self._give_way(me)

    def wait(self, wakes: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Let others run until `wakes()` or the timeout; return whether it wakes."""
        me = self._me()
        if me.is_mortal and self.is_crashed:
            raise Crash
        if wakes():
            return True
        me.wakes = wakes
        me.deadline = None if timeout_s is None else self.now_s + max(timeout_s, 0.0)
        self._give_way(me)
        me.wakes = me.deadline = None
        return wakes()

    def nap(self, seconds: float) -> None:
        """Let `seconds` pass. Timeouts that end earlier end late, with it, which every thread has to bear."""
        me = self._me()
        me.is_napping = True
        try:
            self.wait(lambda: False, seconds)
        finally:
            me.is_napping = False

    def crash(self) -> None:
        """End the process: raises `Crash` here, and in every other of its tasks when that runs next."""
        self.is_crashed = True
        raise Crash

    def reap(self) -> None:
        """After a crash: run the tasks of the process to their end. The controller calls it."""
        self.is_crashed = True
        while any(task.is_mortal for task in self.tasks):
            self.wait(lambda: not any(task.is_mortal for task in self.tasks))
        self.is_crashed = False

    @property
    def current(self) -> Task:
        """The task that runs."""
        return self._me()

    def owns_this_thread(self) -> bool:
        """Whether the calling thread is a task of this kernel."""
        return self._ident == _thread.get_ident()

    # Scheduling

    def _me(self) -> Task:
        assert self._current is not None
        return self._current

    def _give_way(self, me: Task) -> None:
        chosen = self._choose()
        if chosen is not me:
            self._current = chosen
            chosen.baton.release()
            me.baton.acquire()
            self._ident = _thread.get_ident()
        if me.is_mortal and self.is_crashed:
            me.wakes = me.deadline = None
            raise Crash
        if self._is_deadlocked and not me.is_mortal:
            found, self._is_deadlocked = self._is_deadlocked, ""
            me.wakes = me.deadline = None
            raise Deadlock(found)

    def _choose(self) -> Task:
        able = [task for task in self.tasks if self._is_able(task)]
        if not able:
            able = self._at_the_next_timeout()
        # A held thread goes on all the same when no other can: standing still is no deadlock.
        able = [task for task in able if task.held_until <= self.steps] or able
        return able[0] if len(able) == 1 else able[int(self.rng.random() * len(able))]

    def _is_able(self, task: Task) -> bool:
        # After a crash every task of the process runs once more, to raise `Crash` where it waits.
        if task.wakes is None or (task.is_mortal and self.is_crashed):
            return True
        return (task.deadline is not None and task.deadline <= self.now_s) or task.wakes()

    def _at_the_next_timeout(self) -> list[Task]:
        naps = [task.deadline for task in self.tasks if task.is_napping and task.deadline]
        # Polls of background threads that nobody waits for are skipped over: they make a nap a hundred times as long.
        due = naps or [task.deadline for task in self.tasks if task.deadline is not None]
        if not due:
            waiting = ", ".join(task.name for task in self.tasks[1:])
            self._is_deadlocked = f"every thread waits for another: {waiting}"
            return self.tasks[:1]
        self.now_s = max(self.now_s, min(due))
        return [task for task in self.tasks if self._is_able(task)]

    def _work(self, task: Task) -> None:
        """Run a task on the worker's thread, and hand on to the next one."""
        self._ident = _thread.get_ident()
        try:
            if not (task.is_mortal and self.is_crashed):
                task.run()
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 - the controller, or an invariant, is told
            task.error = error
            self.ended.append(task)
        task.is_done = True
        self.tasks.remove(task)

    def _hand_on(self, task: Task) -> None:
        if not task.is_mortal:
            self._current = None
            self._finished.release()
            return
        chosen = self._current = self._choose()
        chosen.baton.release()


class _Worker:
    """An operating-system thread that runs one task after another: starting one costs more than a short task."""

    def __init__(self) -> None:
        self._job = _thread.allocate_lock()
        self._job.acquire()
        self._kernel: Kernel | None = None
        self._task: Task | None = None
        threading.Thread(target=self._loop, name="simulated", daemon=True).start()

    def take(self, kernel: Kernel, task: Task) -> None:
        self._kernel, self._task = kernel, task
        self._job.release()

    def _loop(self) -> None:
        while True:
            self._job.acquire()
            kernel, task = self._kernel, self._task
            assert kernel is not None
            assert task is not None
            self._kernel = self._task = None
            task.baton.acquire()
            kernel._work(task)
            # Idle before it hands on: the next task may need a worker at once. The baton orders the two, so no
            # lock is needed.
            _idle.append(self)
            kernel._hand_on(task)
            del kernel, task


_idle: list[_Worker] = []
_active: Kernel | None = None


def _hand_to_a_worker(kernel: Kernel, task: Task) -> None:
    worker = _idle.pop() if _idle else _Worker()
    worker.take(kernel, task)


def active() -> Kernel | None:
    """Return the kernel whose task the calling thread is; None outside a simulation."""
    kernel = _active
    return kernel if kernel is not None and kernel.owns_this_thread() else None


def simulated() -> Kernel:
    """Return the kernel of the calling task."""
    kernel = active()
    assert kernel is not None, "a simulated lock is used outside its simulation"
    return kernel


__all__ = ["Crash", "Deadlock", "Kernel", "Task", "active", "simulated"]
