from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable

import pytest

from loopwright.app.supervise import Pace, Supervised, Supervisor, Task
from loopwright.core.errors import DiskFull
from loopwright.testing import ManualClock

SLOW = Pace(every_s=5.0, retry_s=1.0, retry_at_most_s=10.0)


def task(run: Callable[[], object], *, name: str = "job", **members: bool) -> Task:
    return Task(name=name, run=run, pace=SLOW, **members)


class Job:
    """Raises `error` while it is set, and counts its runs."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1
        if self.error is not None:
            raise self.error


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError(errno.EIO, "Input/output error"),
    PermissionError(errno.EACCES, "Permission denied"),
    DiskFull("the disk is full"),
    MemoryError(),
    KeyError("x"),
    SystemExit(1),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__ + str(error))
def test_whatever_a_task_raises_it_is_named_and_tried_again(error: BaseException) -> None:
    job, clock = Job(error), ManualClock(1_000_000)
    supervised = Supervised(task(job), clock)
    assert supervised.turn() == 1.0
    health = supervised.health()
    assert (health.failures, health.failing_since_ms) == (1, 1_000_000)
    assert type(error).__name__ in health.reason
    assert "1970-01-01T00:16:40Z" in health.sentence
    job.error = None
    clock.advance(seconds=1)
    assert supervised.turn() == 5.0
    health = supervised.health()
    assert (health.reason, health.failing_since_ms) == ("", None)
    assert (health.runs, health.failures, health.last_success_ms) == (2, 1, 1_001_000)


def test_the_rest_doubles_from_failure_to_failure_up_to_its_bound() -> None:
    supervised = Supervised(task(Job(OSError("full"))), ManualClock())
    assert [supervised.turn() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_task_that_fails_for_days_is_still_tried() -> None:
    supervised = Supervised(task(Job(OSError("full"))), ManualClock())
    rests = {supervised.turn() for _ in range(2_000)}
    assert max(rests) == 10.0
    assert supervised.health().failures == 2_000


def test_since_when_a_task_fails_is_the_first_failure_in_a_row() -> None:
    clock = ManualClock(5_000)
    supervised = Supervised(task(Job(OSError("full"))), clock)
    supervised.turn()
    clock.advance(seconds=60)
    supervised.turn()
    health = supervised.health()
    assert health.failing_since_ms == 5_000
    assert "2 times in a row" in health.reason


def test_the_trace_is_logged_once_for_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    supervised = Supervised(task(Job(OSError("full"))), ManualClock())
    with caplog.at_level(logging.INFO, "loopwright.app.supervise"):
        supervised.turn()
        supervised.turn()
    assert [record.exc_info is not None for record in caplog.records] == [True, False]


def test_recovery_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    job = Job(OSError("full"))
    supervised = Supervised(task(job), ManualClock())
    with caplog.at_level(logging.INFO, "loopwright.app.supervise"):
        supervised.turn()
        job.error = None
        supervised.turn()
        supervised.turn()
    assert [record.getMessage() for record in caplog.records] == [
        "a background task failed",
        "a background task works again",
    ]


def test_a_failing_task_holds_up_none_of_the_others() -> None:
    broken, ran = Job(OSError("full")), threading.Event()
    at_once = Pace(every_s=0.0, retry_s=0.001)
    supervisor = Supervisor(
        [
            Task(name="broken", run=broken, pace=at_once),
            Task(name="well", run=lambda: ran.set() if broken.runs > 2 else None, pace=at_once),
        ],
        clock=ManualClock(),
    )
    supervisor.start()
    supervisor.start()
    assert ran.wait(10)
    assert [health.task for health in supervisor.failing()] == ["broken"]
    supervisor.stop()
    supervisor.stop()
    assert not list(filter(lambda t: t.name.startswith("loopwright-broken"), threading.enumerate()))


def test_a_task_that_waits_for_long_ends_at_once_when_stopped() -> None:
    patient = Pace(every_s=3600.0)
    supervisor = Supervisor([Task(name="job", run=Job(), pace=patient)], clock=ManualClock())
    supervisor.start()
    supervisor.stop()
    assert supervisor.is_stopping


def test_what_serving_needs_is_named_first() -> None:
    supervisor = Supervisor(
        [
            task(Job(OSError("full")), name="extra"),
            task(Job(OSError("full")), name="vital", is_vital=True),
        ],
        clock=ManualClock(),
    )
    for each in supervisor.tasks:
        supervisor.turn(each.name)
    assert [health.task for health in supervisor.failing()] == ["vital", "extra"]


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Supervisor([task(Job()), task(Job())], clock=ManualClock())
