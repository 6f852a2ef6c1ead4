"""`loopwright.testing.simulation.parts` for the code of commit 96c98c3; `november.py` lays it over that code."""

from __future__ import annotations

import random

from loopwright.feedback.people import erase_person

from loopwright.app.embedded import Loop
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.errors import Conflict
from loopwright.learning.replay import replay

TENANT = DEFAULT_TENANT


class Parts:
    def __init__(self, settings, clock, rng: random.Random) -> None:
        self.services = services = Services(settings, clock=clock, rng=rng)
        self.loop = Loop(services, TENANT)
        self.catalog, self.people, self.raw = services.catalog, services.people, services.raw
        self.reader, self.writer, self.log = services.reader, services.writer, services.log
        self.learner, self.ring = services.learner, services.ring

    def start(self) -> None:
        self.services.start()

    def close(self) -> None:
        self.services.close()

    def complaints(self) -> str:
        return self.services.unready()

    def facts(self):
        return list(self.reader.replay())

    def experiments(self):
        return self.catalog.experiments(TENANT)

    def is_told(self) -> bool:
        return True

    def consent(self, user_id: str, scopes) -> None:
        raise Conflict("the simulation does not change consent in this code")

    def replayed(self):
        positions = self.learner.positions()
        known = [e for e in self.experiments() if (e.tenant_id, e.id) in positions]
        return replay(self.reader, known, through=positions)

    def dump(self, experiment_id):
        return self.learner.dump(TENANT, experiment_id)

    def erase(self, user_id: str) -> str:
        from loopwright.app.embedded import _append

        async def append(facts, keys):
            return _append(self.services, facts, keys)

        steps = erase_person(
            self.people,
            append,
            tenant_id=TENANT,
            id=user_id,
            count_rows=lambda tenant_id, person: {},
            forget_quarantined=self.services.quarantine.forget,
            at_ms=self.people.now_ms(),
            forget_raw=None if self.raw is None else self.raw.forget,
        )
        try:
            steps.send(None)
        except StopIteration as done:
            return done.value.person
        raise RuntimeError("erasing waits for something")

    def counted(self):
        found = self.services.warehouse.query("period_counts", tenant_id=TENANT)
        return {f"{row['relation']} {row['kind']}": int(row["n"]) for row in found.dicts()}

    def rows_of(self, person: str):
        return self.services.rows_of(TENANT, person)

    def project(self) -> None:
        self.services._loader.run()
