from __future__ import annotations

from typing import Any

import pytest

from loopwright.app.roles.keeper import Traffic, watch_writer
from loopwright.backends.memory import MemoryEventLog
from loopwright.core.errors import Broken, DiskFull
from loopwright.core.events import Ticked
from loopwright.core.ports import Offset
from loopwright.eventlog import Writer
from loopwright.testing import ManualClock


class FailingLog(MemoryEventLog):
    """A log whose disk is full while it is told so."""

    is_full = False

    def append(self, body: bytes, **told: Any) -> Offset:
        if self.is_full:
            raise DiskFull("the disk is full; free some space")
        return super().append(body, **told)


def test_a_log_that_failed_is_tried_until_the_disk_is_well_although_no_request_comes() -> None:
    log, clock = FailingLog(), ManualClock()
    writer = Writer(log, clock)
    log.is_full = True
    with pytest.raises(DiskFull):
        writer.append([Ticked(1)], [None], timeout_s=10)
    with pytest.raises(DiskFull):
        watch_writer(writer, clock)
    log.is_full = False
    watch_writer(writer, clock)
    assert (writer.failure, log.head()) == (None, 1)
    writer.close()


def test_a_log_that_works_is_not_written_to_by_the_watch() -> None:
    log, clock = FailingLog(), ManualClock()
    writer = Writer(log, clock)
    watch_writer(writer, clock)
    assert log.head() == 0
    writer.close()


def test_a_writer_whose_thread_has_ended_is_named() -> None:
    clock = ManualClock()
    writer = Writer(FailingLog(), clock)
    writer.close()
    with pytest.raises(Broken, match="thread that writes the event log has ended"):
        watch_writer(writer, clock)


def test_traffic_is_the_rate_of_the_latest_whole_stretch() -> None:
    head, clock = [0], ManualClock()
    traffic = Traffic(
        lambda: head[0], clock, count=lambda after, through: through - after, stretch_s=5
    )
    head[0] = 1_000
    clock.advance(seconds=1)
    assert traffic.rate() == 0
    clock.advance(seconds=4)
    assert traffic.rate() == 200
    clock.advance(seconds=1)
    assert traffic.rate() == 200
    clock.advance(seconds=9)
    assert traffic.rate() == 0
