"""Versions and rollouts of an embedded loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.client.arguments import text, texts
from loopwright.core.rollout import NewRollout, Rollout, RolloutPage, RolloutReport, Stage
from loopwright.core.version import (
    Lineage,
    NewVersion,
    Version,
    VersionDiff,
    VersionKind,
    VersionPage,
)
from loopwright.rollout.stages import Order

from .arguments import Part, checked

_ACTOR: Final = "embedded"


class _Page(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=1000)]
    kind: VersionKind | None = None


class Versions(Part):
    """Register versions, compare them, see where they come from."""

    def add(
        self,
        id: str,
        *,
        kind: str,
        content: Any = None,
        reference: str | None = None,
        digest: str | None = None,
        parents: Sequence[str] = (),
        dataset: str | None = None,
        eval_runs: Sequence[str] = (),
        reason: str = "",
    ) -> Version:
        """Register an immutable version: its `content`, or a `reference` with the SHA-256 `digest` of what lies there.

        The same again is answered as it is kept; other content under its id is a `Conflict`.
        """
        new = checked(
            NewVersion,
            id=id,
            kind=kind,
            content=content,
            reference=reference,
            digest=digest,
            parents=texts("parents", parents),
            dataset=dataset,
            eval_runs=texts("eval_runs", eval_runs),
            reason=reason,
        )
        return self._services.reports.versions.add(self._tenant_id, new, actor=_ACTOR)

    def get(self, id: str) -> Version:
        """Return a version with its content."""
        return self._services.reports.versions.get(self._tenant_id, text("id", id))

    def list(self, *, kind: str | None = None, limit: int = 100) -> VersionPage:
        """Return the newest versions, of one kind or of all."""
        asked = checked(_Page, limit=limit, kind=kind)
        return self._services.reports.versions.list(
            self._tenant_id, kind=asked.kind, limit=asked.limit
        )

    def diff(self, first: str, second: str) -> VersionDiff:
        """Return what differs between two versions, their content line by line."""
        return self._services.reports.versions.diff(
            self._tenant_id, text("first", first), text("second", second)
        )

    def lineage(self, id: str) -> Lineage:
        """Return what a version was made from and what was made from it, with the arms that serve each."""
        return self._services.reports.versions.lineage(self._tenant_id, text("id", id))


class Rollouts(Part):
    """Begin rollouts, see how they stand, move them by hand."""

    def begin(
        self,
        id: str,
        *,
        experiment_id: str,
        champion: str,
        challenger: str,
        stages: Sequence[Stage | Mapping[str, Any]] | None = None,
        assigned: str = "unit",
        watch_margin: float = 0.02,
        again: bool = False,
        note: str = "",
    ) -> Rollout:
        """Give a challenger its first share of the traffic; from then on its gates move it.

        Without `stages` it gets 5 % until it is shown to do no harm, and half until it is shown to be better. `assigned`
        'unit' needs an experiment whose gate is sticky.
        """
        new = checked(
            NewRollout,
            id=id,
            experiment_id=experiment_id,
            champion=champion,
            challenger=challenger,
            assigned=assigned,
            watch_margin=watch_margin,
            again=again,
            note=note,
            **({} if stages is None else {"stages": list(stages)}),
        )
        return self._services.reports.rollouts.begin(self._tenant_id, new, actor=_ACTOR)

    def list(self, *, experiment_id: str | None = None, limit: int = 100) -> RolloutPage:
        """Return rollouts, newest first, with every move."""
        asked = checked(_Page, limit=limit)
        return self._services.reports.rollouts.list(
            self._tenant_id, experiment_id=experiment_id, limit=asked.limit
        )

    def report(self, id: str) -> RolloutReport:
        """Return a rollout, what its gate says of the evidence at this moment, and what happens next."""
        return self._services.reports.rollouts.report(self._tenant_id, text("id", id))

    def hold(self, id: str, *, reason: str = "") -> Rollout:
        """Keep a rollout in its stage, whatever its gate says."""
        return self._ordered(id, "hold", reason)

    def resume(self, id: str, *, reason: str = "") -> Rollout:
        """Let the gate of a held rollout decide again."""
        return self._ordered(id, "resume", reason)

    def approve(self, id: str, *, reason: str = "") -> Rollout:
        """Let a held rollout go on to its next stage; its gate has to pass at this moment."""
        return self._ordered(id, "approve", reason)

    def roll_back(self, id: str, *, reason: str = "") -> Rollout:
        """Restore the shares from before a rollout, also after a promotion; its challenger is disabled."""
        return self._ordered(id, "roll_back", reason)

    def cancel(self, id: str, *, reason: str = "") -> Rollout:
        """End an open rollout and restore the shares from before it."""
        return self._ordered(id, "cancel", reason)

    def _ordered(self, id: str, order: Order, reason: str) -> Rollout:
        return self._services.reports.rollouts.order(
            self._tenant_id, text("id", id), order, actor=_ACTOR, reason=text("reason", reason)
        )
