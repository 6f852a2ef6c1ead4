"""Background work that never ends unseen: every task has a pace, a record, a health and metrics.

Each task runs on a thread of its own, so one that waits for a slow disk holds up none of the others. Whatever a
task raises is logged and counted, and the task is tried again after a pause that doubles from failure to failure.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from loopwright.core.clock import Clock

_logger = logging.getLogger(__name__)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a task runs, and how soon it is tried again after it failed."""

    every_s: float
    """Rest between the end of one run and the next; 0 for a task that waits for its own work."""
    retry_s: float = 1.0
    """Rest after the first failure in a row; it doubles with each further one."""
    retry_at_most_s: float = 60.0
    """Longest rest after a failure."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of background work. `run` does a bounded amount of it and returns."""

    name: str
    run: Callable[[], object]
    pace: Pace
    is_vital: bool = False
    """Whether selects and feedback cannot be served while it fails."""


class TaskHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one task at one moment."""

    task: str
    is_vital: bool
    runs: int
    failures: int
    last_success_ms: int | None
    """None before the first success."""
    failing_since_ms: int | None
    """When the first of the present failures in a row happened; None while the task is well."""
    reason: str
    """Why it fails, or that its thread has ended; empty while the task is well."""

    @property
    def sentence(self) -> str:
        """The task and why it fails, for the answer of the readiness probe."""
        return f"{self.task} {self.reason}"


class Supervised:
    """One task with the record of its runs. `turn` is what its thread does over and over."""

    def __init__(self, task: Task, clock: Clock) -> None:
        self.task = task
        self._now_ms = clock.now_ms
        self._lock = threading.Lock()
        self._runs = self._failures = self._in_a_row = 0
        self._last_success_ms: int | None = None
        self._failing_since_ms: int | None = None
        self._error: BaseException | None = None

    def turn(self) -> float:
        """Run the task once and return the seconds to rest before the next run; raises nothing."""
        try:
            self.task.run()
        except BaseException as error:  # noqa: BLE001 - SystemExit out of a library must not end the work either
            return self._failed(error)
        return self._succeeded()

    def health(self, *, has_ended: bool = False) -> TaskHealth:
        """Return the record; `has_ended` says that the thread ended without `stop`."""
        with self._lock:
            return TaskHealth(
                task=self.task.name,
                is_vital=self.task.is_vital,
                runs=self._runs,
                failures=self._failures,
                last_success_ms=self._last_success_ms,
                failing_since_ms=self._failing_since_ms,
                reason=self._reason(has_ended=has_ended),
            )

    def _succeeded(self) -> float:
        with self._lock:
            self._runs += 1
            self._last_success_ms = self._now_ms()
            recovered = self._in_a_row
            self._in_a_row, self._failing_since_ms, self._error = 0, None, None
        if recovered:
            _logger.info(
                "a background task works again",
                extra={"task": self.task.name, "failures": recovered},
            )
        return self.task.pace.every_s

    def _failed(self, error: BaseException) -> float:
        pace = self.task.pace
        with self._lock:
            self._runs += 1
            self._failures += 1
            # The exponent is bounded because 2.0 ** 1024 overflows, which a task that fails for a day reaches.
            rest_s = min(pace.retry_s * 2.0 ** min(self._in_a_row, 32), pace.retry_at_most_s)
            self._in_a_row += 1
            self._failing_since_ms = self._failing_since_ms or self._now_ms()
            self._error, is_first = error, self._in_a_row == 1
        # The trace once per outage: a full disk must not be filled further by the log that tells of it.
        _logger.error(
            "a background task failed",
            extra={"task": self.task.name, "reason": reason_of(error), "retry_s": rest_s},
            exc_info=error if is_first else None,
        )
        return rest_s

    def _reason(self, *, has_ended: bool) -> str:
        if has_ended:
            return "has stopped: its thread has ended"
        if self._error is None or self._failing_since_ms is None:
            return ""
        since = datetime.fromtimestamp(self._failing_since_ms / 1000, UTC)
        times = "once" if self._in_a_row == 1 else f"{self._in_a_row} times in a row"
        return (
            f"has failed {times} since {since:%Y-%m-%dT%H:%M:%SZ}: {reason_of(self._error)}; "
            "it is tried again"
        )


class Supervisor:
    """Runs tasks, each on a thread of its own, from `start` to `stop`, and knows how each does."""

    def __init__(self, tasks: Sequence[Task], *, clock: Clock) -> None:
        names = [task.name for task in tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks have the same name: {sorted(names)}")
        self._supervised = {task.name: Supervised(task, clock) for task in tasks}
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    @property
    def tasks(self) -> list[Task]:
        """Every task, in the order given."""
        return [supervised.task for supervised in self._supervised.values()]

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` has been called: a task that takes long should then return."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to run every task; a second call does nothing."""
        if self._threads:
            return
        for name, supervised in self._supervised.items():
            # Daemons, so that a program that forgets to close its loop can still end.
            thread = threading.Thread(
                target=self._run, args=[supervised], name=f"loopwright-{name}", daemon=True
            )
            self._threads[name] = thread
            thread.start()

    def stop(self) -> None:
        """Let each task finish its present run, and end the threads; a second call does nothing."""
        # All are told before the first is waited for. No limit: a task that still ran would meet closed stores.
        self._stopping.set()
        for thread in self._threads.values():
            thread.join()

    def turn(self, name: str) -> float:
        """Run one task once, now, on the calling thread; return the rest that its record calls for."""
        return self._supervised[name].turn()

    def health(self) -> list[TaskHealth]:
        """Return how every task does."""
        return [s.health(has_ended=self._has_ended(n)) for n, s in self._supervised.items()]

    def failing(self) -> Iterator[TaskHealth]:
        """Yield the tasks that fail or have stopped, those without which nothing is served first."""
        unwell = [health for health in self.health() if health.reason]
        yield from sorted(unwell, key=lambda health: not health.is_vital)

    def _run(self, supervised: Supervised) -> None:
        # A periodic task waits first: the start belongs to serving.
        rest_s = supervised.task.pace.every_s
        # Not a sleep: `stop` ends the wait at once.
        while not self._stopping.wait(rest_s):
            rest_s = supervised.turn()

    def _has_ended(self, name: str) -> bool:
        thread = self._threads.get(name)
        return thread is not None and not thread.is_alive() and not self.is_stopping


def reason_of(error: BaseException) -> str:
    """Return an error as a phrase; the type is named where the message alone would say too little."""
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


WAITS_ITSELF: Final = Pace(every_s=0.0, retry_s=0.1, retry_at_most_s=5.0)
"""For a task whose run waits for work: tried again soon, because serving depends on it."""
