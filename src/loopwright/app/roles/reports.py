"""The role that reads for people: the warehouse's tables, and trust over them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from loopwright import __version__
from loopwright.app.supervise import Pace, Task
from loopwright.backends import resolve
from loopwright.datasets import Datasets
from loopwright.rollout import Rollouts, Versions
from loopwright.trust.clearances import Clearances, Clearing
from loopwright.trust.view import Trust
from loopwright.warehouse import FOLDER, Loader, Warehouse

from .truth import Truth

LOOK: Final = Pace(every_s=0.5, retry_at_most_s=5.0)
"""How often open rollouts are judged: harm is taken back within a second of its evidence."""


class Reports:
    """The warehouse, opened at the first use, and trust over it."""

    def __init__(self, truth: Truth, opened: ExitStack, *, loader: Loader) -> None:
        self._truth = truth
        self._opened = opened
        self._loader = loader
        self._opening = threading.Lock()
        self._warehouse: Warehouse | None = None
        # In the catalog's database because people decide it: it cannot be rebuilt, and is backed up with the rest.
        self.clearances = Clearances(truth.catalog_database)
        self.clearing = Clearing(
            self.clearances,
            clock=truth.clock,
            ids=truth.ids,
            find=truth.find,
            audit=truth.catalog.record,
        )
        self.datasets = Datasets(
            truth.catalog_database,
            truth.catalog.journal,
            blobs=resolve.blob_store(truth.at.blobs, "datasets"),
            warehouse=lambda: self.warehouse,
            columnar=truth.columnar,
            code_version=__version__,
        )
        self.versions = Versions(
            truth.catalog_database,
            truth.catalog.journal,
            experiments=truth.catalog.experiments.all,
        )
        self.rollouts = Rollouts(
            truth.catalog_database,
            truth.catalog.journal,
            experiments=truth.catalog.experiments,
            versions=self.versions,
            warehouse=lambda: self.warehouse,
            head=truth.log.head,
        )

    def task(self) -> Task:
        """Return the background work of this role: rollouts move by their evidence."""
        return Task(name="rollouts", run=self.rollouts.run, pace=LOOK)

    @property
    def warehouse(self) -> Warehouse:
        """The tables that reports read. The first call opens them, which can take seconds."""
        # Two requests come on two threads; without the lock both would open the tables.
        with self._opening:
            if self._warehouse is None:
                self._warehouse = Warehouse(
                    self._loader.blobs,
                    self._truth.reader,
                    engine=resolve.query_engine(self._truth.at.blobs, FOLDER),
                    clock=self._truth.clock,
                    loader=self._loader,
                )
                # Registered last and so closed first, while the log and the files that it reads are open.
                self._opened.callback(self._warehouse.close)
            return self._warehouse

    def trust(self) -> Trust:
        """Return the view that weighs feedback by how far it can be trusted."""
        return Trust(self.warehouse, people=self._truth.people, clearances=self.clearances)

    def rows_of(self, tenant_id: str, person: str, ids: Sequence[str] = ()) -> dict[str, int]:
        """Return in how many rows of each table a person is found, of all that was acknowledged before the call.

        `ids` are the pseudonym of their unit and, where it is known, their user id.
        """
        self._truth.writer.flush()
        unit, id = (*ids, "", "")[:2]
        found = self.warehouse.query(
            "rows_of_person", tenant_id=tenant_id, person=person, unit=unit, id=id, is_fresh=True
        )
        return {table: int(n) for table, n in found.rows}
