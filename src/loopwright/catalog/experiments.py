"""The experiments as memory holds them; every change is one transaction, in force from its fact's offset on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, LoopError, NotFound, NotInForce, StaleVersion
from loopwright.core.events import ExperimentChanged, Fact
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ports import Database, Session

from . import rules, store
from .journal import Journal
from .quotas import exceeded
from .rules import Move
from .tenants import Tenants


class Experiments:
    """Experiments of one installation, read from memory."""

    def __init__(self, database: Database, journal: Journal, *, tenants: Tenants) -> None:
        self._journal = journal
        self._tenants = tenants
        loaded = map(rules.parsed, store.experiment_bodies(database))
        self._held = {(e.tenant_id, e.id): e for e in loaded}

    def get(self, tenant_id: str, experiment_id: str) -> Experiment:
        """Return an experiment as it is now; raises `NotFound`."""
        try:
            return self._held[tenant_id, experiment_id]
        except KeyError:
            raise NotFound(f"there is no experiment '{experiment_id}'") from None

    def all(self, tenant_id: str) -> list[Experiment]:
        """Return a tenant's experiments, by id, ended ones too."""
        # Copied first: a writer may add an experiment while this reads, and a dict must not grow under a loop.
        found = [e for e in list(self._held.values()) if e.tenant_id == tenant_id]
        return sorted(found, key=lambda experiment: experiment.id)

    def create(self, experiment: Experiment, *, actor: str = "") -> Experiment:
        """Create `experiment` as a draft and return it as it is kept.

        Raises `Invalid` or `PolicyMismatch` when it could not run as described, `Conflict` when the id is
        taken. Its state, revision and times are set here, whatever was given.
        """
        now_ms = self._journal.now_ms()
        draft = msgspec.structs.replace(
            experiment, state="draft", revision=1, created_at_ms=now_ms, updated_at_ms=now_ms
        )
        draft, body = rules.normal(draft)
        rules.check(draft)
        self._tenants.get(draft.tenant_id)
        with self._journal.writing:
            if (draft.tenant_id, draft.id) in self._held:
                raise Conflict(
                    f"there is already an experiment '{draft.id}'; change it, or choose another id",
                    found=draft.id,
                )
            self._require_room(draft.tenant_id)
            with self._journal.transaction() as session:
                store.add_experiment(session, draft.tenant_id, draft.id, body=body)
                self._tell(session, draft, "create", actor=actor)
            self._held[draft.tenant_id, draft.id] = draft
        self._settle(draft)
        return draft

    def update(
        self,
        tenant_id: str,
        experiment_id: str,
        amendment: Amendment,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Change an experiment; a draft in everything, a started one in what learning does not depend on.

        Raises `StaleVersion` when `revision` is given and is not the present one.
        """
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.amended(experiment, amendment),
            "update",
            revision=revision,
            actor=actor,
        )

    def move(
        self,
        tenant_id: str,
        experiment_id: str,
        move: Move,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Start, pause, resume or end an experiment."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.moved(experiment, move),
            move,
            revision=revision,
            actor=actor,
        )

    def add_arm(
        self,
        tenant_id: str,
        experiment_id: str,
        arm: Arm,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Add an arm in the last position."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.extended(experiment, arm),
            "add_arm",
            revision=revision,
            actor=actor,
        )

    def change_arm(
        self,
        tenant_id: str,
        experiment_id: str,
        arm_id: str,
        change: ArmChange,
        *,
        revision: int | None = None,
        actor: str = "",
    ) -> Experiment:
        """Enable, disable or retire an arm, or change its shares, payload or metadata."""
        return self._change(
            (tenant_id, experiment_id),
            lambda experiment: rules.amended(experiment, Amendment(arms={arm_id: change})),
            "change_arm",
            revision=revision,
            actor=actor,
        )

    def adopt(self, session: Session, stands_at: Mapping[tuple[str, str], int]) -> list[Fact]:
        """Return facts about the experiments that the event log was never told of."""
        now_ms = self._journal.now_ms()
        return [
            ExperimentChanged(
                self._journal.new_id(),
                now_ms,
                experiment,
                adopted=True,
                stands_at=stands_at.get((experiment.tenant_id, experiment.id)),
            )
            for experiment in map(rules.parsed, store.untold_experiments(session))
        ]

    def follow(self, after: Experiment) -> None:
        """Take over the value that another process stored; an older one changes nothing."""
        known = self._held.get((after.tenant_id, after.id))
        # Only a newer one: facts of this process's own changes come back through the log, and may come
        # after the next change.
        if known is None or known.revision < after.revision:
            self._held[after.tenant_id, after.id] = after

    def open_ones(self, tenant_id: str) -> int:
        """Return how many experiments of a tenant have not ended."""
        return sum(experiment.state != "ended" for experiment in self.all(tenant_id))

    def _require_room(self, tenant_id: str) -> None:
        """Raise `QuotaExceeded` when the tenant may have no further experiment."""
        limit = self._tenants.get(tenant_id).quotas.experiments
        # Counted under the lock that also adds, so two threads cannot both take the last place.
        if limit is not None and (used := self.open_ones(tenant_id)) >= limit:
            raise exceeded("experiments", limit=limit, used=used, now_ms=self._journal.now_ms())

    def _change(
        self,
        at: tuple[str, str],
        step: Callable[[Experiment], Experiment],
        action: str,
        *,
        revision: int | None,
        actor: str,
    ) -> Experiment:
        with self._journal.writing:
            before = self.get(*at)
            rules.expect_revision(before, revision)
            after, body = rules.normal(step(before))
            # A change that changes nothing keeps the revision, so that repeating a request is harmless.
            if body == rules.normal(before)[1]:
                return before
            rules.check(after)
            after = msgspec.structs.replace(
                after,
                revision=before.revision + 1,
                # Never backwards, also after the clock was set back.
                updated_at_ms=max(before.updated_at_ms, self._journal.now_ms()),
            )
            after, body = rules.normal(after)
            with self._journal.transaction() as session:
                # The lock orders the threads of this process; another process on the same database shows in the revision.
                if not store.change_experiment(session, *at, revision=after.revision, body=body):
                    raise StaleVersion(
                        f"experiment '{after.id}' was changed by another process; restart this one to "
                        "read it again",
                        expected=before.revision,
                    )
                self._tell(
                    session, after, action, actor=actor, changed=rules.difference(before, after)
                )
            # After the commit: a reader must not see what a crash could undo.
            self._held[at] = after
        self._settle(after)
        return after

    def _settle(self, experiment: Experiment) -> None:
        """Return once a change is in force; raises `NotInForce` when the event log cannot take it yet."""
        try:
            offset = self._journal.relay()
        except LoopError as error:
            raise NotInForce(
                f"experiment '{experiment.id}' is changed (revision {experiment.revision}), but the event log "
                f"cannot be written, so the change is not in force yet: {error.message}. It is tried again by "
                "itself; do not repeat it",
                found=experiment.revision,
            ) from error
        self._journal.wait_for(offset)

    def _tell(
        self, session: Session, after: Experiment, action: str, *, actor: str, **detail: Any
    ) -> None:
        subject = f"experiment/{after.id}"
        detail = {"revision": after.revision, **detail}
        self._journal.put(
            session,
            ExperimentChanged(self._journal.new_id(), self._journal.now_ms(), after, actor),
            self._journal.told(after.tenant_id, subject, action, actor=actor, **detail),
        )
