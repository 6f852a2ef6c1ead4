"""The catalog: tenants, keys and experiments, read from memory, changed in one transaction each.

Readers take no lock and touch no disk: they see one reference to an immutable value, before a change or
after it. Writers take turns. A change is one transaction with the facts about it (see `outbox`); it reaches memory
once it is committed, then the event log. The event log's readers act on it, so a change is in force from its fact's
offset on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loopwright.core.clock import Clock
from loopwright.core.events import Changed, ExperimentChanged, Fact, KeyChanged
from loopwright.core.ids import Ids
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

from . import store
from .access import Access
from .experiments import Experiments
from .journal import Journal
from .keys import Keys
from .outbox import Append
from .quotas import Counted, Meters
from .tenants import Tenants
from .zones import Zones


class Catalog:
    """Tenants, API keys and experiments of one installation."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        append: Append | None = None,
        applied: Callable[[int], None] = lambda offset: None,
        counted: Callable[[str], Counted] = lambda tenant_id: Counted(),
    ) -> None:
        """Create the tables and the default tenant where missing, and read everything into memory.

        `append` puts facts into the event log; without it they wait in the outbox. `applied` waits until what the
        log says through an offset is in force; what it raises reaches the caller who made the change. `counted` tells
        what the log holds of a tenant that has a quota.
        """
        apply_schema(database, "catalog", store.SCHEMA)
        self.journal = Journal(database, clock=clock, ids=ids, append=append, applied=applied)
        """For slices that keep tables in the same database: their change and the fact about it are one transaction."""
        access = Access(clock)
        self.meters = Meters(clock, counted)
        self.tenants = Tenants(database, self.journal, meters=self.meters)
        self.zones = Zones(database, self.journal, tenants=self.tenants)
        self.keys = Keys(database, self.journal, access=access, tenants=self.tenants)
        self.experiments = Experiments(database, self.journal, tenants=self.tenants)
        # Bound once: every request authenticates, and a method in between would only hand it on.
        self.authenticate = access.authenticate

    def adopt(self, stands_at: Mapping[tuple[str, str], int]) -> int:
        """Keep a fact, for the event log, about each experiment and key from before it held such facts.

        `stands_at` has the offsets at which paused and ended experiments had stopped learning. Returns how many
        facts there are; none the second time.
        """
        with self.journal.writing, self.journal.transaction() as session:
            facts = [*self.experiments.adopt(session, stands_at), *self.keys.adopt()]
            self.journal.put(session, *facts)
            store.mark_told(session)
        return len(facts)

    def record(self, change: Changed) -> None:
        """Keep the audit of a change that another slice made, until the event log has it."""
        with self.journal.transaction() as session:
            self.journal.put(session, change)
        self.journal.try_relay()

    def relay(self) -> int:
        """Append to the event log what waits for it; return an offset that is not below any of it.

        Raises why the log takes nothing; what waits is kept. Call it at start-up, and now and then.
        """
        return self.journal.relay()

    def follow(self, fact: Fact) -> None:
        """Take over a change that another process made, by the fact about it; an older value changes nothing."""
        with self.journal.writing:
            match fact:
                case ExperimentChanged(experiment=after):
                    self.experiments.follow(after)
                case KeyChanged(stored=stored):
                    self.keys.follow(stored)
                case _:
                    pass
