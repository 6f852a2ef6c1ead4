"""From the writer's thread back to the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loopwright.app.acks import Acks
from loopwright.backends.memory import MemoryEventLog
from loopwright.core.errors import DiskFull
from loopwright.core.events import Ticked
from loopwright.core.ports import Offset
from loopwright.eventlog import Writer
from loopwright.testing import ManualClock


class FailingLog(MemoryEventLog):
    def append(self, body: bytes, **told: Any) -> Offset:
        raise DiskFull("the disk is full; free some space")


def test_every_waiting_request_learns_the_offset_of_its_own_facts() -> None:
    log = MemoryEventLog()
    writer = Writer(log, ManualClock())

    async def run() -> list[int | None]:
        acks = Acks(writer, asyncio.get_running_loop())
        waiting = [acks.append([Ticked(n), Ticked(n)], [None, None]) for n in range(50)]
        return [committed.first_offset for committed in await asyncio.gather(*waiting)]

    offsets = asyncio.run(run())
    writer.close()
    assert sorted(offset or 0 for offset in offsets) == list(range(1, 101, 2))


def test_what_the_disk_refused_with_is_raised_where_it_is_awaited() -> None:
    writer = Writer(FailingLog(), ManualClock())

    async def run() -> None:
        await Acks(writer, asyncio.get_running_loop()).append([Ticked(1)], [None])

    with pytest.raises(DiskFull):
        asyncio.run(run())
    writer.close()


def test_facts_whose_client_left_are_stored_all_the_same() -> None:
    log = MemoryEventLog()
    writer = Writer(log, ManualClock())

    async def run() -> None:
        acks = Acks(writer, asyncio.get_running_loop())
        leaving = asyncio.ensure_future(acks.append([Ticked(1)], [None]))
        await asyncio.sleep(0)
        leaving.cancel()
        await acks.append([Ticked(2)], [None])

    asyncio.run(run())
    writer.close()
    assert log.head() == 2


def test_an_ack_for_a_loop_that_has_ended_is_dropped() -> None:
    log = MemoryEventLog()
    writer = Writer(log, ManualClock())
    loop = asyncio.new_event_loop()
    acks = Acks(writer, loop)

    async def begin() -> None:
        asyncio.ensure_future(acks.append([Ticked(1)], [None])).cancel()
        await asyncio.sleep(0)

    loop.run_until_complete(begin())
    loop.close()
    writer.close()
    assert writer.failure is None
