"""A small log and a warehouse over it, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopwright.backends import resolve
from loopwright.backends.duckdb import DuckDB
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.clock import Clock
from loopwright.core.decision import Decision
from loopwright.core.events import Consented, Erased, Fact, Interacted, Reported, Stepped
from loopwright.core.feedback import CONSENT_SCOPES, Feedback, Note, Rating, Target
from loopwright.core.interaction import Interaction, Step
from loopwright.core.ports import Lease
from loopwright.eventlog import Reader
from loopwright.testing import ManualClock
from loopwright.warehouse import Loader, Warehouse

DAY = 86_400_000
NOW = 20_000 * DAY + 5_000
UP = Rating(1.0, "thumbs")
DOWN = Rating(0.0, "thumbs")


def loader(reader: Reader, folder: Path, *, clock: Clock, **options: Any) -> Loader:
    """A loader as the server has it."""
    url = resolve.file_url(folder.parent)
    return Loader(
        reader,
        resolve.blob_store(url, folder.name),
        engine=resolve.loading_engine(url, folder.name),
        lease=resolve.lease(url, folder.name),
        clock=clock,
        **options,
    )


def warehouse(folder: Path, reader: Reader, *, clock: Clock, **options: Any) -> Warehouse:
    """A warehouse as the server has it."""
    options.setdefault("loader", loader(reader, folder, clock=clock))
    if "engine" not in options:
        options["engine"] = DuckDB(folder)
    return Warehouse(FolderBlobStore(folder), reader, clock=clock, **options)


class World:
    """A log in `folder`, its reader, and makers of loaders and warehouses over it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "warehouse"
        self.blobs = FolderBlobStore(self.folder)
        self.log = SqliteEventLog(folder / "log.db")
        self.reader = Reader(self.log)
        self.clock = ManualClock(NOW)
        self._opened: list[Warehouse] = []

    def say(self, *facts: Fact) -> int:
        """Append facts as one batch; return the offset of the last."""
        body = upcast.encode(facts)
        first = self.log.append(body, count=len(facts), version=upcast.SCHEMA_VERSION, keys=[])
        return first + len(facts) - 1

    def loader(self, **options: Any) -> Loader:
        return loader(self.reader, self.folder, clock=self.clock, **options)

    def lease(self) -> Lease:
        """What a loader holds while it works."""
        return resolve.lease(resolve.file_url(self.folder.parent), self.folder.name)

    def warehouse(self, **options: Any) -> Warehouse:
        self.engine = options.pop("engine", None) or DuckDB(self.folder)
        made = warehouse(self.folder, self.reader, clock=self.clock, engine=self.engine, **options)
        self._opened.append(made)
        return made

    def table(self, relation: str) -> list[dict[str, Any]]:
        """The rows of a relation as the latest question left it."""
        names = [row[0] for row in self.engine.query(f"DESCRIBE {relation}")]
        return [
            dict(zip(names, row, strict=True))
            for row in self.engine.query(f"SELECT * FROM {relation}")  # noqa: S608
        ]

    def close(self) -> None:
        for warehouse in self._opened:
            warehouse.close()
        self.log.close()


def feedback(
    event_id: str,
    kind: Feedback = UP,
    *,
    target: Target | None = None,
    tenant_id: str = "acme",
    at_ms: int = NOW,
    **note: Any,
) -> Reported:
    """One piece of feedback, said when it arrived unless `occurred_at_ms` says otherwise."""
    note.setdefault("occurred_at_ms", at_ms)
    return Reported(event_id, at_ms, tenant_id, target or Target(), kind, Note(**note))


def call(
    interaction_id: str, *, tenant_id: str = "acme", at_ms: int = NOW, **about: Any
) -> Interacted:
    """One call of the product."""
    made = Interaction(id=interaction_id, started_at_ms=at_ms, **about)
    return Interacted("e-" + interaction_id, at_ms, tenant_id, made)


def decision(decision_id: str, *, tenant_id: str = "acme", arm_id: str = "a") -> Decision:
    return Decision(decision_id, tenant_id, "greeting", arm_id, 0.5, 7, NOW, unit_id="u1")


def step(step_id: str, **about: Any) -> Stepped:
    about = {"session_id": "s1", "kind": "sql_generation", "taken_at_ms": NOW, **about}
    return Stepped("e" + step_id, NOW, "acme", Step(id=step_id, **about))


def consented(person: str, *scopes: Any, tenant_id: str = "acme") -> Consented:
    return Consented("c-" + person, NOW, tenant_id, person, scopes)


def erased(person: str, tenant_id: str = "acme") -> Erased:
    return Erased("x-" + person, NOW, tenant_id, person)


ALL_SCOPES = CONSENT_SCOPES
