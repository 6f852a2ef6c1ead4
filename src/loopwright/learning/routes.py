"""What the learner says and keeps, over HTTP: status with advice, snapshots, rollback.

Handlers ask for `learner`, `catalog` and `principal` by name; the application provides them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from loopwright.catalog.routes import Catalogued
from loopwright.core.errors import NotFound
from loopwright.core.status import Advice, SnapshotInfo, Status
from loopwright.web import TENANT, Acting, Asking, needs, problems

from .advice import advise

APPLY_S: Final = 2.0
"""How long a rollback waits to be served before it answers; it takes effect anyway."""


class Learner(Protocol):
    """What the routes need of the learner."""

    def status(self, tenant_id: str, experiment_id: str) -> Status:
        """Return how an experiment is doing."""
        ...

    def snapshots(self, tenant_id: str, experiment_id: str) -> list[SnapshotInfo]:
        """Return the kept snapshots, newest first."""
        ...

    def snapshot(self, tenant_id: str, experiment_id: str, *, version: int) -> SnapshotInfo:
        """Return one snapshot with its arms; raises `NotFound`."""
        ...

    def take_snapshot(self, tenant_id: str, experiment_id: str) -> SnapshotInfo:
        """Keep the present state as a snapshot; raises `NotFound`."""
        ...

    def roll_back(self, tenant_id: str, experiment_id: str, *, version: int, actor: str) -> int:
        """Log that the learner goes back to a kept snapshot; return the fact's offset. Raises `NotFound`."""
        ...

    def wait_until(self, offset: int, timeout_s: float) -> bool:
        """Wait until everything through `offset` is learned and served; False when the time is up."""
        ...


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an experiment is doing and what is worth doing about it."""

    status: Status
    feedback_rate: float | None
    """Share of the logged decisions that feedback has arrived for; null before the first decision."""
    advice: list[Advice]
    """Most urgent first; empty when there is nothing to say."""


class SnapshotList(msgspec.Struct, frozen=True):
    """Kept snapshots, newest first."""

    items: list[SnapshotInfo]


class Rollback(msgspec.Struct, frozen=True):
    """A rollback that is in the log for good."""

    version: int
    """The snapshot that was gone back to."""
    offset: int
    """Offset of the fact that does it; what serves afterwards has this version or a later one."""
    is_applied: bool
    """Whether it serves already. A paused experiment applies it when it is resumed."""


Learning = NamedDependency[SkipValidation[Learner]]


class LearningController(Controller):
    """Status and snapshots of an experiment."""

    path = "/api/v1/experiments/{experiment_id:str}"
    tags: Sequence[str] = ("learning",)
    dependencies = TENANT

    @get(
        "/status",
        summary="Status and advice",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def status(
        self,
        experiment_id: FromPath[str],
        learner: Learning,
        catalog: Catalogued,
        tenant: Acting,
    ) -> StatusReport:
        """Return what each arm earned, how sure that is, its share of the traffic, and health advice."""
        experiment = catalog.experiments.get(tenant, experiment_id)
        status = learner.status(tenant, experiment_id)
        return StatusReport(
            status=status,
            feedback_rate=status.feedback_rate,
            advice=advise(status, experiment),
        )

    @get(
        "/snapshots",
        summary="List snapshots",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def snapshots(
        self,
        experiment_id: FromPath[str],
        learner: Learning,
        catalog: Catalogued,
        tenant: Acting,
    ) -> SnapshotList:
        """Return the kept states of the policy, newest first."""
        catalog.experiments.get(tenant, experiment_id)
        return SnapshotList(learner.snapshots(tenant, experiment_id))

    @post(
        "/snapshots",
        summary="Take a snapshot",
        response_description="The snapshot.",
        responses=problems(404, 409),
        sync_to_thread=True,
        **needs("manage"),
    )
    def take_snapshot(
        self,
        experiment_id: FromPath[str],
        learner: Learning,
        catalog: Catalogued,
        tenant: Acting,
    ) -> SnapshotInfo:
        """Keep the present state of the policy, for instance before a risky change; it can be rolled back to."""
        catalog.experiments.get(tenant, experiment_id)
        return learner.take_snapshot(tenant, experiment_id)

    @get(
        "/snapshots/{version:str}",
        summary="Read a snapshot",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def snapshot(
        self,
        experiment_id: FromPath[str],
        version: FromPath[str],
        learner: Learning,
        catalog: Catalogued,
        tenant: Acting,
    ) -> SnapshotInfo:
        """Return one kept state with its arms as it sees them."""
        catalog.experiments.get(tenant, experiment_id)
        return learner.snapshot(tenant, experiment_id, version=_offset(version))

    @post(
        "/snapshots/{version:str}/rollback",
        summary="Roll back to a snapshot",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def roll_back(
        self,
        experiment_id: FromPath[str],
        version: FromPath[str],
        learner: Learning,
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> Rollback:
        """Put the learner back to this state; what it learned since is forgotten, the facts stay in the log."""
        catalog.experiments.get(tenant, experiment_id)
        kept = _offset(version)
        offset = learner.roll_back(tenant, experiment_id, version=kept, actor=principal.key_id)
        # The fact is durable: when the time is up too early nothing is lost, and `is_applied` says so.
        learner.wait_until(offset, APPLY_S)
        serving = learner.status(tenant, experiment_id).snapshot
        # Or a later one: feedback may have moved the state on since.
        return Rollback(kept, offset, serving >= offset)


def _offset(version: str) -> int:
    """Return a snapshot's version, which is an offset of the log; anything else names no snapshot."""
    # isdigit alone takes the digits of every script; 18 of them fit the column of 64 bits.
    if not (version.isascii() and version.isdigit() and len(version) <= 18):
        raise NotFound(
            f"there is no snapshot '{version[:40]}'; a version is a log offset: see the list of snapshots"
        )
    return int(version)
