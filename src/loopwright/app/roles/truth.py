"""The stores that cannot be rebuilt and that every role shares: event log, catalog, people, raw copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Final, Literal

from loopwright.app.installation import bind
from loopwright.app.keyring import ADMIN_KEY_FILE, write_private
from loopwright.app.settings import Settings, addresses
from loopwright.app.usage import UsageCount
from loopwright.backends import resolve
from loopwright.catalog import DEFAULT_TENANT, Catalog, Usage
from loopwright.core.clock import Clock
from loopwright.core.errors import NotFound
from loopwright.core.events import Fact
from loopwright.core.experiment import Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import ScrubbedDatabase
from loopwright.core.principal import SCOPES
from loopwright.eventlog import Consumers, Reader, Segments, Writer
from loopwright.people.people import People
from loopwright.people.raw import RawCopies

RAW_FILE: Final = "raw.db"
APPEND_S: Final = 30.0


class Truth:
    """The stores of one data directory, opened; `opened` closes them in the reverse order.

    Raises `LogCorrupt` when the log is damaged.
    """

    def __init__(self, settings: Settings, opened: ExitStack, *, clock: Clock, ids: Ids) -> None:
        self.folder = settings.data_dir
        self.clock, self.ids = clock, ids
        self.at = addresses(settings)
        self.log = resolve.event_log(self.at.log)
        opened.callback(self.log.close)
        self.catalog_database = self.database("catalog", opened)
        if settings.database is not None:
            bind(self.folder, self.catalog_database)
        # FULL, though the log rebuilds checkpoints and positions: it does not rebuild a snapshot that a client was told
        # is kept, and rolls back to later. A checkpoint comes once in a while, so its fsync costs little.
        self.state_database = self.database("state", opened)
        self.columnar = resolve.columnar()
        self.segments = Segments(resolve.blob_store(self.at.blobs, "segments"), self.columnar)
        self.reader = Reader(self.log, self.segments)
        self.writer = Writer(
            self.log,
            clock,
            capacity=settings.queue_events,
            shed_capacity=settings.decision_buffer,
        )
        # Registered after the log and so closed before it: the last commit needs the log open.
        opened.callback(self.writer.close)
        self.writer.subscribe(self.reader.wake)
        self.consumers = Consumers(self.state_database)
        self.usage = UsageCount(
            self.reader, database=self.state_database, consumers=self.consumers, clock=clock
        )
        self.catalog = Catalog(
            self.catalog_database,
            clock=clock,
            ids=ids,
            append=self.append,
            # Looked up at each call: the learner's role replaces `applied` once it has a learner.
            applied=lambda offset: self.applied(offset),
            counted=self.usage.counted,
        )
        self.applied: Callable[[int], None] = lambda offset: None
        """Waits until what the log says through an offset is in force; the learner's role sets it."""
        people_database = self.database("people", opened, is_private=True)
        self.private = [people_database]
        """Databases whose deleted rows must also leave the file."""
        self.people = People(people_database, clock=clock, rewrite=people_database.rewrite)
        self.raw = self._raw_copies(settings, opened)
        """Raw copies; None when they are off and there never were any."""
        self._first_start()

    def database(
        self,
        name: str,
        opened: ExitStack,
        *,
        synchronous: Literal["NORMAL", "FULL"] = "FULL",
        is_private: bool = False,
    ) -> ScrubbedDatabase:
        """Open the database called `name`; `opened` closes it."""
        database = resolve.database(
            self.at.database, name, synchronous=synchronous, is_private=is_private
        )
        opened.callback(database.close)
        return database

    def append(self, facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        """Put facts of the control plane into the log; return an offset that is not below theirs."""
        self.writer.append(facts, keys, timeout_s=APPEND_S)
        # Not an offset of the commit: a fact that a crash relayed before is a duplicate and has none in it.
        return self.log.head()

    def usage_of(self, tenant_id: str) -> Usage:
        """Return what a tenant uses and may use; raises `NotFound`."""
        tenant = self.catalog.tenants.get(tenant_id)
        return self.catalog.meters.usage(
            tenant_id,
            tenant.quotas,
            self.usage.counted(tenant_id),
            experiments=self.catalog.experiments.open_ones(tenant_id),
        )

    def experiments(self) -> Iterable[Experiment]:
        """Return every experiment of every tenant."""
        return [
            e
            for tenant in self.catalog.tenants.all()
            for e in self.catalog.experiments.all(tenant.id)
        ]

    def find(self, tenant_id: str, experiment_id: str) -> Experiment | None:
        """Return an experiment, or None when the catalog has none of that id."""
        try:
            return self.catalog.experiments.get(tenant_id, experiment_id)
        except NotFound:
            return None

    def _raw_copies(self, settings: Settings, opened: ExitStack) -> RawCopies | None:
        """Open the raw copies. With the setting off, copies kept earlier still expire and are still erased."""
        # A database server shows no file to look for, so it is opened to find out.
        has_some = settings.database is not None or (self.folder / RAW_FILE).exists()
        if not settings.raw_copies and not has_some:
            return None
        database = self.database("raw", opened, is_private=True)
        self.private.append(database)
        return RawCopies(
            database,
            people=self.people,
            clock=self.clock,
            ttl_days=settings.raw_ttl_days,
            scrub=database.scrub,
        )

    def _first_start(self) -> None:
        """Make the first API key; it is only ever in a file that its owner alone can read."""
        if not self.catalog.keys.all(DEFAULT_TENANT):
            path = self.folder / ADMIN_KEY_FILE
            # The file comes first. After a crash between the two there is no key yet, so the next start makes
            # another one and replaces the file.
            self.catalog.keys.create(
                DEFAULT_TENANT,
                SCOPES,
                name="first administrator",
                actor="first start",
                hand_over=lambda secret: write_private(path, secret.encode() + b"\n"),
            )
