"""The part of `threading` that Loopwright uses, on the tasks of a kernel.

An object made outside a simulation is a real one, so that code under substitution behaves as ever elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .kernel import Task, active, simulated

T = TypeVar("T")


class Lock:
    """A lock of simulated threads; with `is_reentrant` its holder may take it again."""

    def __init__(self, *, is_reentrant: bool = False) -> None:
        self._is_reentrant = is_reentrant
        self._holder: Task | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; False when that is not possible in time."""
        kernel = simulated()
        kernel.point("lock")
        me = kernel.current
        if self._is_reentrant and self._holder is me:
            self._depth += 1
            return True
        # A task that crashed never releases; its lock is free for the clean-up of others.
        if self._holder is not None and not self._holder.is_done:
            if not blocking:
                return False
            if not kernel.wait(self._is_free, None if timeout < 0 else timeout):
                return False
        self._holder, self._depth = me, 1
        return True

    def release(self) -> None:
        """Give the lock back."""
        kernel = active()
        if self._holder is None or (kernel is not None and self._holder is not kernel.current):
            # While a process is ended, `with` blocks release locks that their crashed `wait` had let go.
            if kernel is not None and kernel.is_crashed:
                return
            raise RuntimeError("a lock is released that this thread does not hold")
        self._depth -= 1
        if not self._depth:
            self._holder = None

    def locked(self) -> bool:
        """Whether a thread holds it."""
        return not self._is_free()

    def _is_free(self) -> bool:
        return self._holder is None or self._holder.is_done

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def let_go(self) -> int:
        """Release it wholly; return how often it was held, for `take_back`."""
        depth, self._depth, self._holder = self._depth, 0, None
        return depth

    def take_back(self, depth: int) -> None:
        """Take it as often as it was held."""
        simulated().wait(self._is_free)
        self._holder, self._depth = simulated().current, depth


class Condition:
    """A condition of simulated threads."""

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock or Lock(is_reentrant=True)
        self._waiting: list[list[bool]] = []
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Let the lock go until told; False when `timeout` passes first."""
        told = [False]
        self._waiting.append(told)
        # The whole depth at once, as `threading.Condition` does: a re-entrant holder would otherwise still
        # block the one that is to tell it.
        depth = self._lock.let_go()
        try:
            return simulated().wait(lambda: told[0], timeout)
        finally:
            if told in self._waiting:
                # By identity: two waiters' flags are equal lists.
                self._waiting = [other for other in self._waiting if other is not told]
            self._lock.take_back(depth)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate` holds; return its latest answer."""
        kernel = simulated()
        end = None if timeout is None else kernel.now_s + timeout
        answer = predicate()
        # A loop, as being told is only a hint: another thread may have taken what it waited for.
        while not answer:
            left = None if end is None else end - kernel.now_s
            if left is not None and left <= 0:
                break
            self.wait(left)
            answer = predicate()
        return answer

    def notify(self, n: int = 1) -> None:
        """Wake up to `n` threads that wait."""
        for told in self._waiting[:n]:
            told[0] = True
        del self._waiting[:n]

    def notify_all(self) -> None:
        """Wake every thread that waits."""
        self.notify(len(self._waiting))


class Event:
    """A flag that simulated threads wait for."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True
        if (kernel := active()) is not None and not kernel.is_crashed:
            kernel.point("event")

    def clear(self) -> None:
        """Take it back."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when `timeout` passes first."""
        kernel = simulated()
        kernel.point("wait")
        return kernel.wait(self.is_set, timeout)


class Thread:
    """A simulated thread of the process under test."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs or {})
        self.name = name or "thread"
        self.daemon = bool(daemon)
        self._task: Task | None = None

    def start(self) -> None:
        """Begin to run it."""
        kernel = simulated()
        self._task = kernel.spawn(self.name, self.run)
        kernel.point("start")

    def run(self) -> None:
        """What the thread does."""
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        simulated().wait(lambda: not self.is_alive(), timeout)

    def is_alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._task is not None and not self._task.is_done


class Future(Generic[T]):
    """The outcome of a call on another thread."""

    def __init__(self) -> None:
        self._is_done = False
        self._error: BaseException | None = None
        self._value: list[T] = []

    def fill(self, call: Callable[[], T]) -> None:
        """Run `call` and keep its outcome."""
        try:
            self._value.append(call())
        # Not `BaseException`: a crash must end this thread and not become the result of a call.
        except Exception as error:  # noqa: BLE001 - `result` raises it
            self._error = error
        self._is_done = True

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._is_done

    def result(self, timeout: float | None = None) -> T:
        """Wait for the call; return or raise what it did."""
        if not simulated().wait(self.done, timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value[0]


class Executor:
    """A pool whose calls run one after the other, on a simulated thread each."""

    def __init__(self, max_workers: int | None = None, thread_name_prefix: str = "pool") -> None:
        self._name = thread_name_prefix
        self._latest: Future[Any] | None = None

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Begin to run a call."""
        before, made = self._latest, Future[T]()

        def run() -> None:
            # One after the other: Loopwright's pools have one worker.
            if before is not None:
                simulated().wait(before.done)
            made.fill(lambda: call(*args, **kwargs))

        self._latest = made
        Thread(target=run, name=self._name).start()
        return made

    def shutdown(self, wait: bool = True) -> None:
        """Wait for the calls."""
        if wait and self._latest is not None:
            simulated().wait(self._latest.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()


class Threading:
    """Stands in for the module `threading` where a module of Loopwright names it."""

    Thread = staticmethod(
        lambda *args, **kwargs: _either(Thread, threading.Thread)(*args, **kwargs)
    )
    Event = staticmethod(lambda: _either(Event, threading.Event)())
    Lock = staticmethod(lambda: _either(Lock, threading.Lock)())

    @staticmethod
    def Condition(lock: Any = None) -> Any:
        """A condition over `lock`, or over one of its own."""
        return _either(Condition, threading.Condition)(lock)

    @staticmethod
    def RLock() -> Any:
        """A lock that its holder may take again."""
        return threading.RLock() if active() is None else Lock(is_reentrant=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


def _either(simulated: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    return real if active() is None else simulated
