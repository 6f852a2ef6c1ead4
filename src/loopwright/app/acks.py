"""From the writer's thread back to the event loop.

A request waits on a future; the writer settles all of a commit's futures with one wake-up of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from loopwright.catalog import Meters
from loopwright.core.errors import LoopError
from loopwright.core.events import Fact
from loopwright.core.ports import Committed
from loopwright.eventlog import Writer

COMMIT_TIMEOUT_S: Final = 60.0
"""How long a thread waits for its commit; after that the outcome is unknown."""


@contextmanager
def returning(meters: Meters, facts: Sequence[Fact]) -> Iterator[Callable[[Committed], None]]:
    """Yield what gives back the room of facts that a commit did not store; an exception gives back that of all.

    When the outcome of a commit is unknown, its facts may be stored all the same: the next start counts them.
    """

    def unused(committed: Committed) -> None:
        left = [fact for fact, known in zip(facts, committed.duplicates, strict=True) if known]
        conflicts = [facts[n] for n in committed.conflicts if not committed.duplicates[n]]
        meters.give_back([*left, *conflicts])

    try:
        yield unused
    except BaseException:
        meters.give_back(facts)
        raise


class Acks:
    """Lets coroutines wait until their facts are durable. Belongs to one event loop."""

    def __init__(
        self, writer: Writer, loop: asyncio.AbstractEventLoop, *, meters: Meters | None = None
    ) -> None:
        """`meters` get back what was reserved in a quota for facts that are not stored."""
        self._writer = writer
        self._meters = meters
        self._loop = loop
        self._settled: deque[tuple[asyncio.Future[Committed], Committed | LoopError]] = deque()
        self._is_woken = False

    async def append(self, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        """Return once `facts` are durable; raises `Overloaded`, or what the disk refused with."""
        if self._meters is not None and self._meters.by_tenant:
            with returning(self._meters, facts) as unused:
                committed = await self._append(facts, keys)
                unused(committed)
                return committed
        return await self._append(facts, keys)

    async def _append(self, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        future: asyncio.Future[Committed] = self._loop.create_future()
        self._writer.submit(facts, keys, lambda outcome: self._done(future, outcome))
        return await future

    def _done(self, future: asyncio.Future[Committed], outcome: Committed | LoopError) -> None:
        """Runs on the writer's thread, once per submission of a commit."""
        self._settled.append((future, outcome))
        # One wake-up for a whole commit: each costs a write to the loop's pipe, and a commit settles thousands.
        if not self._is_woken and not self._loop.is_closed():
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        # Lowered before the queue is emptied: what comes later wakes the loop again.
        self._is_woken = False
        while self._settled:
            future, outcome = self._settled.popleft()
            if future.done():  # the client disconnected; its facts are stored all the same
                continue
            if isinstance(outcome, LoopError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
