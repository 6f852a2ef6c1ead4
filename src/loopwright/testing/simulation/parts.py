"""The parts of a running loop that the simulation looks into; the only module that knows where they are kept."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

from loopwright.app.embedded import Loop
from loopwright.app.settings import Settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.clock import Clock
from loopwright.core.events import ExperimentChanged, Fact
from loopwright.core.experiment import Experiment
from loopwright.learning.replay import replay
from loopwright.people.consent import change_consent
from loopwright.people.erasure import erase_person

TENANT = DEFAULT_TENANT


class Parts:
    """One process: the services as the composition root makes them, and the embedded interface to them."""

    def __init__(self, settings: Settings, clock: Clock, rng: random.Random) -> None:
        self.services = Services(settings, clock=clock, rng=rng)
        self.loop = Loop(self.services, TENANT)
        truth = self.services.truth
        self.catalog, self.people, self.raw = truth.catalog, truth.people, truth.raw
        self.reader, self.writer, self.log = truth.reader, truth.writer, truth.log
        self.learner = self.services.learner
        self.ring = self.services.door.ring

    def start(self) -> None:
        """Begin the background work."""
        self.services.start()

    def close(self) -> None:
        """Shut down in order."""
        self.services.close()

    def complaints(self) -> str:
        """Return what readiness and health say is wrong; empty when all is well."""
        health = self.services.health()
        return "" if health.status == "ready" else f"{health.status}: {health.reason}"

    def facts(self) -> list[tuple[int, Fact]]:
        """Return the whole log, sealed parts included, from a reader that remembers nothing."""
        return list(self.reader.replay())

    def experiments(self) -> Sequence[Experiment]:
        """Return every experiment of the tenant."""
        return self.catalog.experiments.all(TENANT)

    def is_told(self) -> bool:
        """Whether the log tells of each experiment what the catalog holds: nothing waits in the outbox."""
        told = {
            fact.experiment.id: fact.experiment.state
            for _, fact in self.facts()
            if isinstance(fact, ExperimentChanged)
        }
        return all(told.get(known.id) == known.state for known in self.experiments())

    def replayed(self) -> Mapping[tuple[str, str], bytes]:
        """Return what each experiment that has started learns from the log alone, to where the learner has read."""
        # To where the learner has read and no further: the log may have grown since.
        return replay(self.reader, through=self.learner.views.positions())

    def dump(self, experiment_id: str) -> bytes:
        """Return what an experiment has learned, to compare with `replayed`."""
        return self.learner.dump(TENANT, experiment_id)

    def erase(self, user_id: str) -> str:
        """Erase a person; return their pseudonym."""
        erased = erase_person(
            self.people,
            partial(self.writer.append, timeout_s=30.0),
            tenant_id=TENANT,
            id=user_id,
            count_rows=lambda tenant_id, person, ids: {},
            forget_quarantined=self.services.door.quarantine.forget,
            at_ms=self.people.now_ms(),
            forget_raw=None if self.raw is None else self.raw.forget,
            scrub=self.services.eraser.scrub,
        )
        return erased.person

    def consent(self, user_id: str, scopes: Sequence[str]) -> None:
        """Set what a person allows."""
        change_consent(
            self.people,
            partial(self.writer.append, timeout_s=30.0),
            tenant_id=TENANT,
            id=user_id,
            scopes=scopes,
            at_ms=self.people.now_ms(),
            forget_raw=None if self.raw is None else self.raw.forget,
        )

    def counted(self) -> Mapping[str, int]:
        """Return how many facts of each kind the warehouse counts over all time."""
        found = self.services.reports.warehouse.query("period_counts", tenant_id=TENANT)
        return {f"{row['relation']} {row['kind']}": int(row["n"]) for row in found.dicts()}

    def rows_of(self, person: str) -> Mapping[str, int]:
        """Return in how many rows of each table a person is found."""
        return self.services.reports.rows_of(TENANT, person)

    def project(self) -> None:
        """Project what is in the log into the warehouse's files."""
        self.services.keeper.loader.run()
