"""The role that takes an erased person out of everything that is stored, and finishes what a crash interrupted."""

from __future__ import annotations

import threading
from functools import partial
from typing import Final

from loopwright.app.supervise import Pace, Task
from loopwright.core.errors import Unavailable
from loopwright.eventlog import Rewriter
from loopwright.people.erasure import resume_erasures
from loopwright.people.scrubbing import Erasing, Scrubber

from .door import Door
from .keeper import Keeper
from .reports import Reports
from .truth import Truth

PACE: Final = Pace(every_s=5.0)
COMMIT_S: Final = 30.0
"""Longest wait for the commit that records an erasure."""
_TRIES: Final = 20


class Eraser:
    """Rewrites log, segments, tables and state without one person. One erasure at a time."""

    def __init__(self, truth: Truth, *, door: Door, keeper: Keeper, reports: Reports) -> None:
        self._truth = truth
        self._door = door
        self._keeper = keeper
        self._reports = reports
        self._rewriter = Rewriter(truth.log, truth.segments)
        self._turn = threading.Lock()

    def task(self) -> Task:
        """Return the background work of this role."""
        return Task(name="erasures", run=self.resume, pace=PACE)

    def scrub(self, erasing: Erasing) -> int:
        """Take a person out of everything that is stored; return how many facts of the log changed.

        Done again, it does what a crash left undone. Raises `Unavailable` when another process keeps old bytes.
        """
        truth = self._truth
        # Decisions that were made and not stored yet are to be found too.
        truth.writer.flush()
        with self._turn, self._keeper.alone():
            # First, as it may still hand facts over to the log.
            self._keeper.sessions.forget(erasing.tenant_id, erasing.marks)
            scrubber = Scrubber(erasing)
            facts = self._reports.warehouse.purge(
                erasing.tenant_id,
                erasing.person,
                erasing.ids,
                rewrite=lambda: self._rewriter.rewrite(scrubber, marks=erasing.marks),
            )
        for database in (truth.state_database, self._door.quarantine_database):
            if not any(database.rewrite() for _ in range(_TRIES)):
                raise Unavailable(
                    "another process reads a database for so long that erased rows stay in its file; "
                    "the erasure is finished once that has ended"
                )
        return facts

    def resume(self) -> None:
        """Finish the erasures that were begun and interrupted."""
        truth = self._truth
        if truth.people.erasures():
            resume_erasures(
                truth.people,
                partial(truth.writer.append, timeout_s=COMMIT_S),
                forget_quarantined=self._door.quarantine.forget,
                forget_raw=None if truth.raw is None else truth.raw.forget,
                scrub=self.scrub,
            )
