"""Limits as people set them: kept in tables, told to the log, in force once the log's fact is read."""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from loopwright.catalog import Journal
from loopwright.core.errors import Conflict, LoopError, NotInForce
from loopwright.core.limit import LimitStatus, NewLimit, limit_of
from loopwright.core.ports import Database
from loopwright.eventlog import Consumers, Reader

from . import store
from .limiter import Limiter
from .moving import SUBJECT, Append, Mover
from .standing import Standing
from .windows import Course, settings_of

MOST_LIMITS: Final = 1000
"""Limits of one tenant."""


class Limits(Standing):
    """The limits of every tenant: set, deleted, asked. Any thread may call; one runs `turn`.

    `journal` belongs to the database `limits`; `states` is for what the log can make again.
    """

    def __init__(
        self,
        limits: Database,
        journal: Journal,
        *,
        states: Database,
        consumers: Consumers,
        reader: Reader,
        append: Append,
        limiter: Limiter | None = None,
    ) -> None:
        super().__init__(journal.now_ms, Limiter() if limiter is None else limiter)
        store.prepare(limits, states)
        self._journal = journal
        self._changing = threading.RLock()
        self._is_owed = False
        """Whether a change may wait in the outbox for the event log."""
        self.mover = Mover(
            self,
            states=states,
            consumers=consumers,
            reader=reader,
            append=append,
            new_id=journal.new_id,
            now_ms=journal.now_ms,
        )
        known = store.states(states)
        for limit in store.all_limits(limits):
            place = (self.mover.position, None)
            through, control = known.get((limit.tenant_id, limit.id), place)
            self.take(Course(limit, control, through=through))

    def put(self, tenant_id: str, id: str, new: NewLimit, *, actor: str = "") -> LimitStatus:
        """Set a limit, new or in the place of what it was; its buckets keep their tokens.

        Raises `Invalid` for rates that contradict each other, `Conflict` beyond `MOST_LIMITS`.
        """
        # Held until the change is read back: of two changes of one limit the second sees the first.
        with self._changing:
            known = self.courses.get((tenant_id, id))
            if known is None and self.count(tenant_id) >= MOST_LIMITS:
                raise Conflict(f"there are {MOST_LIMITS} limits already; delete one first")
            before = None if known is None else known.limit.revision
            limit = limit_of(
                tenant_id,
                id,
                new,
                revision=(before or 0) + 1,
                updated_at_ms=self._journal.now_ms(),
            )
            # Checks the rates against each other before anything is stored.
            settings_of(limit)
            told = self._journal.told(
                tenant_id, SUBJECT + id, "put", actor=actor, limit=msgspec.to_builtins(limit)
            )
            with self._journal.transaction() as session:
                store.put(session, limit, before=before)
                self._journal.put(session, told)
            self._settle(id)
        return self.status(tenant_id, id)

    def delete(self, tenant_id: str, id: str, *, actor: str = "") -> None:
        """Remove a limit and its buckets; raises `NotFound`."""
        with self._changing:
            self.course(tenant_id, id)
            told = self._journal.told(tenant_id, SUBJECT + id, "delete", actor=actor)
            with self._journal.transaction() as session:
                store.delete(session, tenant_id, id)
                self._journal.put(session, told)
            self._settle(id)

    def turn(self) -> None:
        """Do what there is to do, once there is something or a moment has passed: the work of one thread."""
        self._pass_over()
        self.mover.turn()

    def run(self) -> None:
        """Do what there is to do at once."""
        self._pass_over()
        self.mover.run()

    def _pass_over(self) -> None:
        # Without limits nothing needs to be decoded. Whoever sets one holds the lock until it is read.
        with self._changing:
            if not self.courses and not self._is_owed:
                self.mover.skip()

    def _settle(self, id: str) -> None:
        """Return once a change is read from the log and so in force; raises `NotInForce` when that cannot be yet."""
        self._is_owed = True
        try:
            self._journal.relay()
        except LoopError as error:
            raise NotInForce(
                f"limit {id!r} is changed, but the event log cannot be written, so the change is not in force yet: "
                f"{error.message}. It is tried again by itself; do not repeat it"
            ) from error
        self.mover.read()
        self._is_owed = False
