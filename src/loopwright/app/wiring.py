"""The composition root: the only place that names engines and slices together.

Everything is built here by hand, in the order in which it depends on each other, and closed in the reverse
order.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from loopwright.backends.files import DirectoryLock, FolderBlobStore
from loopwright.backends.sqlite import SqliteDatabase, SqliteEventLog
from loopwright.catalog import DEFAULT_TENANT, Catalog
from loopwright.core.clock import Clock, SystemClock
from loopwright.core.errors import LoopError, NotFound, Overloaded
from loopwright.core.events import Changed
from loopwright.core.experiment import Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.core.principal import SCOPES
from loopwright.core.text import Redactor
from loopwright.core.token import Signer
from loopwright.eventlog import Consumers, Reader, Sealer, Segments, Writer
from loopwright.feedback import Intake, Pipeline, Quarantine, TypedIntake
from loopwright.learning import Learner
from loopwright.people.people import People
from loopwright.people.raw import RawCopies
from loopwright.policies import Snapshots
from loopwright.serving import Selector
from loopwright.signals.expectations import Expectations
from loopwright.signals.registry import FOLDER as SURROGATES
from loopwright.signals.registry import Surrogates
from loopwright.signals.sessions import Sessions
from loopwright.texts.redact import Rules
from loopwright.trust.clearances import Clearances, Clearing
from loopwright.warehouse import CONSUMER as WAREHOUSE
from loopwright.warehouse import Loader, Warehouse

from .keyring import ADMIN_KEY_FILE, KeyRing, write_private
from .settings import Settings

logger = logging.getLogger(__name__)

HOUSEKEEPING_S: Final = 5.0
RAW_FILE: Final = "raw.db"
QUIET: Final = 500
"""Facts a second below which there is time for the upkeep that would slow serving down."""
PROJECT_AFTER: Final = 10_000
"""Facts beyond the warehouse's files after which they are projected in a quiet moment; until then, and while it is
busy, reports read them from the log."""
PROJECT_AT_LATEST: Final = 1_000_000
"""Facts beyond the warehouse's files after which they are projected however busy it is."""


class Services:
    """One running loop over one data directory.

    Raises `DirectoryLocked` when another process holds the directory, `LogCorrupt` when its log is damaged.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, rng: random.Random | None = None
    ) -> None:
        clock = clock or SystemClock()
        rng = rng or random.SystemRandom()
        folder = settings.data_dir
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        with ExitStack() as opened:
            # Whatever fails below, what was opened before it is let go, the directory's lock last of all.
            opened.callback(DirectoryLock(folder).release)
            self._build(folder, opened, clock, rng)
            self._opened = opened.pop_all()

    def _build(self, folder: Path, opened: ExitStack, clock: Clock, rng: random.Random) -> None:
        settings = self.settings
        self.log = SqliteEventLog(folder / "log.db")
        opened.callback(self.log.close)
        catalog_database = SqliteDatabase(folder / "catalog.db")
        opened.callback(catalog_database.close)
        state_database = SqliteDatabase(folder / "state.db", synchronous="NORMAL")
        opened.callback(state_database.close)
        self.segments = Segments(FolderBlobStore(folder / "segments"))
        self.reader = Reader(self.log, self.segments)
        self.writer = Writer(
            self.log,
            clock,
            capacity=settings.queue_events,
            shed_capacity=settings.decision_buffer,
        )
        opened.callback(self.writer.close)
        self.writer.subscribe(self.reader.wake)
        ids = Ids(clock, random.Random(rng.getrandbits(256)))
        self.catalog = Catalog(catalog_database, clock=clock, ids=ids, audit=self.audit)
        self.snapshots = Snapshots()
        self.learner = Learner(
            self.reader,
            self.writer,
            database=state_database,
            snapshots=self.snapshots,
            experiments=self._experiments,
            head=self.log.head,
            shed=lambda tenant_id, id: self.selector.shed.get((tenant_id, id), 0),
            find=self._find,
            clock=clock,
        )
        self.ring = KeyRing(folder, max_age_s=settings.token_max_age_s)
        self.selector = Selector(
            self.snapshots,
            self.ring.signer,
            offer=self.writer.offer,
            find=self.catalog.experiment,
            clock=clock,
            ids=ids,
            rng=random.Random(rng.getrandbits(256)),
        )
        self.intake = Intake(self.ring.signer, find=self.catalog.experiment, clock=clock, ids=ids)
        self.ring.subscribe(self._sign_with)
        self.catalog.subscribe(self.learner.refresh)
        people_database = SqliteDatabase(folder / "people.db", is_private=True)
        opened.callback(people_database.close)
        self._private = [people_database]
        quarantine_database = SqliteDatabase(folder / "quarantine.db", synchronous="NORMAL")
        opened.callback(quarantine_database.close)
        self.people = People(people_database, clock=clock, rewrite=people_database.rewrite)
        self.quarantine = Quarantine(quarantine_database)
        # Decisions of people, so they are kept, and backed up, where the others are.
        self.clearances = Clearances(catalog_database)
        self.clearing = Clearing(
            self.clearances, clock=clock, ids=ids, find=self._find, audit=self.audit
        )
        self.pipeline = Pipeline(
            self.ring.signer, find=self._find, ids=ids, redactor=_redactor(settings)
        )
        self.classifier_fell_back: Mapping[str, int] = {}
        """How often the rules had to stand in for the endpoint that classifies, by reason."""
        if settings.classifier_url is not None:
            self._ask_a_model(settings, opened, clock)
        self.raw = self._raw_copies(folder / RAW_FILE, opened, clock)
        """Raw copies; None when they are off and there never were any."""
        self.typed_intake = TypedIntake(
            self.pipeline,
            people=self.people,
            quarantine=self.quarantine,
            clock=clock,
            ids=ids,
            raw=self.raw if settings.raw_copies else None,
        )
        consumers = self._consumers = Consumers(state_database)
        consumers.register(WAREHOUSE)
        self.surrogates = Surrogates(FolderBlobStore(folder / SURROGATES))
        self.sessions = Sessions(
            self.reader,
            self.writer,
            database=state_database,
            consumers=consumers,
            clock=clock,
            shaping=Expectations(self.surrogates, find=self._find, people=self.people),
        )
        self._sealer = Sealer(
            self.log,
            self.segments,
            consumed=consumers.slowest,
            keep=settings.seal_after_events,
        )
        self._loader = Loader(
            self.reader,
            folder / "warehouse",
            clock=clock,
            consumers=consumers,
            database=state_database,
            retain_days=settings.retain_days,
        )
        self.clock = clock
        self._opening = threading.Lock()
        self._warehouse: Warehouse | None = None
        self._first_start(folder)
        self._stopping = threading.Event()
        self._housekeeper = threading.Thread(
            target=self._keep_house, name="loopwright-housekeeping", daemon=True
        )

    def start(self) -> None:
        """Begin to learn: from where the checkpoint left off, then as facts arrive."""
        self.learner.start()
        self._housekeeper.start()

    def close(self) -> None:
        """Store what waits, checkpoint, and let the data directory go."""
        self._stopping.set()
        if self._housekeeper.is_alive():
            self._housekeeper.join()
        self.writer.flush()
        self.learner.stop()
        self.catalog.flush_last_used()
        self._opened.close()

    @property
    def warehouse(self) -> Warehouse:
        """The tables that reports read; opened by whoever first asks."""
        with self._opening:
            if self._warehouse is None:
                self._warehouse = Warehouse(
                    self._loader.folder, self.reader, clock=self.clock, loader=self._loader
                )
                self._opened.callback(self._warehouse.close)
            return self._warehouse

    def rows_of(self, tenant_id: str, person: str) -> dict[str, int]:
        """Return in how many rows of each table a person is found."""
        found = self.warehouse.query("rows_of_person", tenant_id=tenant_id, person=person)
        return {table: int(n) for table, n in found.rows}

    def unready(self) -> str:
        """Return why selects and feedback cannot be served; empty when they can."""
        if self._stopping.is_set():
            return "shutting down"
        if self.writer.failure is not None:
            return f"the event log cannot be written: {self.writer.failure.message}"
        if self.learner.failure is not None:
            return f"the learner has stopped: {self.learner.failure}"
        return ""

    def audit(self, change: Changed) -> None:
        """Log a change of the control plane. It is in force by now, so nothing here may refuse it."""

        def done(outcome: Committed | LoopError) -> None:
            if isinstance(outcome, LoopError):
                missed(outcome)

        def missed(error: LoopError) -> None:
            logger.error(
                "a change is in force but not in the event log",
                extra={"reason": error.message, "change": change},
            )

        try:
            self.writer.submit([change], [None], done)
        except Overloaded as error:
            missed(error)

    def _experiments(self) -> list[Experiment]:
        return [e for tenant in self.catalog.tenants() for e in self.catalog.experiments(tenant.id)]

    def _find(self, tenant_id: str, experiment_id: str) -> Experiment | None:
        try:
            return self.catalog.experiment(tenant_id, experiment_id)
        except NotFound:
            return None

    def _raw_copies(self, path: Path, opened: ExitStack, clock: Clock) -> RawCopies | None:
        """Open the raw copies. Those that were kept while they were on still end at their time, and with erasure."""
        if not self.settings.raw_copies and not path.exists():
            return None
        database = SqliteDatabase(path, is_private=True)
        opened.callback(database.close)
        self._private.append(database)
        return RawCopies(
            database,
            people=self.people,
            clock=clock,
            ttl_days=self.settings.raw_ttl_days,
            scrub=database.scrub,
        )

    def _ask_a_model(self, settings: Settings, opened: ExitStack, clock: Clock) -> None:
        """Let an endpoint name the categories; the rules stand in while it cannot."""
        from loopwright.backends.endpoint import (
            EndpointClassifier,
        )  # needs an HTTP client, which a server does without

        assert settings.classifier_url is not None
        key = settings.classifier_key
        asked = EndpointClassifier(
            settings.classifier_url,
            model=settings.classifier_model,
            fallback=self.pipeline.categories,
            clock=clock,
            api_key=None if key is None else key.get_secret_value(),
            timeout_s=settings.classifier_timeout_s,
        )
        opened.callback(asked.close)
        self.pipeline.categories, self.pipeline.asks_others = asked, True
        self.classifier_fell_back = asked.fell_back

    def _first_start(self, folder: Path) -> None:
        """Make the first API key; it is only ever in a file that its owner alone can read."""
        if not self.catalog.keys(DEFAULT_TENANT):
            issued = self.catalog.create_key(
                DEFAULT_TENANT, SCOPES, name="first administrator", actor="first start"
            )
            write_private(folder / ADMIN_KEY_FILE, issued.secret.encode() + b"\n")

    def _sign_with(self, signer: Signer) -> None:
        self.selector.signer = self.intake.signer = self.pipeline.signer = signer

    def _forget(self) -> None:
        """End raw copies whose time is over, however busy it is, and wipe what was deleted out of the files."""
        try:
            if self.raw is not None:
                self.raw.sweep()
            for database in self._private:
                database.scrub()
        except LoopError as error:
            logger.error("what is over cannot be deleted", extra={"reason": error.message})

    def _keep_house(self) -> None:
        """Now and then: delete what is over, derive signals, project into the warehouse, seal and trim, note when keys were used."""
        seen = self.log.head()
        while not self._stopping.wait(HOUSEKEEPING_S):
            self._forget()
            try:
                before, seen = seen, self.log.head()
                behind = seen - self._consumers.position(WAREHOUSE)
                is_quiet = seen - before < QUIET * HOUSEKEEPING_S
                if is_quiet or behind >= PROJECT_AT_LATEST:
                    self.sessions.run(stopping=self._stopping.is_set)
                    if behind >= PROJECT_AFTER:
                        self._loader.run()
                    self._sealer.seal()
                    self._sealer.trim()
                self.catalog.flush_last_used()
            except LoopError as error:
                logger.error("housekeeping failed", extra={"reason": error.message})


def _redactor(settings: Settings) -> Redactor:
    """Return what redacts free text; raises `SettingsInvalid` when Presidio is asked for and not installed."""
    rules = Rules()
    if settings.redactor == "rules":
        return rules
    from loopwright.backends.presidio import PresidioRedactor  # takes seconds, so only on demand

    return PresidioRedactor(rules)
