"""How a change of the catalog is written: under one lock, in one transaction with the facts about it.

The facts wait in the outbox of that transaction (see `outbox`) and reach the event log afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from loopwright.core.clock import Clock
from loopwright.core.errors import LoopError
from loopwright.core.events import Changed, Fact
from loopwright.core.ids import Ids
from loopwright.core.ports import Database, Session

from .outbox import Append, Outbox

_logger = logging.getLogger(__name__)


class Journal:
    """Writes the changes of one catalog and tells the event log of them."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        append: Append | None,
        applied: Callable[[int], None],
    ) -> None:
        self.now_ms = clock.now_ms
        self.new_id = ids
        # Reentrant: a change of a key or an experiment asks for its tenant, and all parts share this lock.
        self.writing = threading.RLock()
        self._database = database
        self._append = append
        self._applied = applied
        self._outbox = Outbox(database, ids=ids)

    def transaction(self) -> AbstractContextManager[Session]:
        """Return a transaction of the catalog's database."""
        return self._database.transaction()

    def put(self, session: Session, *facts: Fact) -> None:
        """Keep `facts`, in their order, within the transaction of the change that they tell of."""
        self._outbox.put(session, *facts)

    def told(
        self, tenant_id: str, subject: str, action: str, *, actor: str, **detail: Any
    ) -> Changed:
        """Return the audit of a change that happens now."""
        return Changed(self.now_ms(), tenant_id, actor, subject, action, detail)

    def relay(self) -> int:
        """Append to the event log what waits for it; return an offset that is not below any of it.

        Raises why the log takes nothing; what waits is kept.
        """
        return 0 if self._append is None else self._outbox.relay(self._append)

    def try_relay(self) -> None:
        """Tell the event log of a change that is in force without it."""
        try:
            self.relay()
        except LoopError as error:
            _logger.error(
                "a change waits in the outbox until the event log can be written",
                extra={"reason": error.message},
            )

    def wait_for(self, offset: int) -> None:
        """Return once what the log says through `offset` is in force; at once without a log."""
        if self._append is not None:
            self._applied(offset)
