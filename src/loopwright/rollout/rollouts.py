"""Rollouts at work: begin one, judge it by the evidence, move it, and give the experiment the shares of its place.

A move is stored first, with the fact about it, and then the experiment is changed. A kill between the two leaves a
rollout that is not applied, and the next look applies it: to change an experiment to what it is changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.catalog import Journal
from loopwright.catalog.experiments import Experiments
from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Conflict, LoopError, StaleVersion
from loopwright.core.experiment import Experiment
from loopwright.core.gate import Verdict
from loopwright.core.ports import START, Database, Offset
from loopwright.core.reward import normalise
from loopwright.core.rollout import NewRollout, Rollout, RolloutPage, RolloutReport
from loopwright.core.schema import apply_schema
from loopwright.warehouse import Warehouse

from . import stages, store
from .evidence import gather, values_after
from .gates import Evidence, judge
from .stages import Order
from .store import Watched
from .versions import Versions
from .watch import Watch

_logger = logging.getLogger(__name__)

COOL_DOWN_MS: Final = DAY_MS
"""How long a challenger that was taken back is not tried again unless somebody says so."""
QUIET_MS: Final = 10_000
"""How long a rollout is not judged again while nothing comes into the log."""
WATCHED_MS: Final = 30 * DAY_MS
"""How long a promotion is watched."""

Suites = Callable[[str, str | None], Mapping[str, bool]]
"""From tenant and version of the challenger's arm: the evaluation suites that it has run, and whether it passed."""


class Rollouts:
    """The rollouts of every tenant. Safe to use from several threads and processes."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        experiments: Experiments,
        versions: Versions,
        warehouse: Callable[[], Warehouse],
        head: Callable[[], Offset] = lambda: START,
        suites: Suites = lambda tenant_id, version: {},
    ) -> None:
        """`journal` belongs to the same database. `head` is the end of the event log: without new facts, looks are rare."""
        apply_schema(database, "rollouts", store.SCHEMA)
        self._database = database
        self._journal = journal
        self._experiments = experiments
        self._versions = versions
        self._warehouse = warehouse
        self._head = head
        self._suites = suites
        # What a person orders must not fail because the background looked at the same rollout meanwhile; other
        # processes are held off by the revision.
        self._moving = threading.RLock()
        self._looked: dict[tuple[str, str, int], tuple[Offset, int]] = {}
        """At which end of the log, and when, each rollout was judged last."""

    def begin(self, tenant_id: str, new: NewRollout, *, actor: str = "") -> Rollout:
        """Begin a rollout and give its challenger the first share.

        Raises `NotFound` for an unknown experiment or version, `Invalid` or `Conflict` when it cannot be begun as it is.
        """
        experiment = self._experiments.get(tenant_id, new.experiment_id)
        made = stages.begun(new, experiment, now_ms=self._journal.now_ms(), actor=actor)
        # Before anything is stored: a rollout of what nobody registered could not say what it promoted.
        for arm in experiment.arms:
            if arm.id in (new.challenger, new.champion) and arm.version is not None:
                self._versions.get(tenant_id, arm.version)
        if not new.again:
            self._require_cooled(made)
        with self._moving:
            with self._journal.transaction() as session:
                store.add(session, made)
                self._tell(session, made)
            self._journal.try_relay()
            try:
                return self._apply(made)
            except LoopError as error:
                # The shares cannot be had, so nothing was begun: the reason goes to the caller.
                self._end_unapplied(made, error)
                raise

    def get(self, tenant_id: str, id: str) -> Rollout:
        """Return a rollout; raises `NotFound`."""
        return store.get(self._database, tenant_id, id)

    def list(
        self, tenant_id: str, *, experiment_id: str | None = None, limit: int = 100
    ) -> RolloutPage:
        """Return a tenant's rollouts, newest first."""
        found = store.newest(self._database, tenant_id, experiment_id=experiment_id, limit=limit)
        return RolloutPage(items=found)

    def report(self, tenant_id: str, id: str) -> RolloutReport:
        """Return a rollout, what its gate says of the evidence so far, and what happens next."""
        rollout = self.get(tenant_id, id)
        verdict = self._verdict(rollout) if rollout.is_open else None
        return RolloutReport(
            rollout=rollout, verdict=verdict, next=stages.next_step(rollout, verdict)
        )

    def order(
        self, tenant_id: str, id: str, order: Order, *, actor: str = "", reason: str = ""
    ) -> Rollout:
        """Hold, resume, approve, roll back or cancel a rollout. Raises `Conflict` when that does not fit."""
        with self._moving:
            rollout = self.get(tenant_id, id)
            verdict = self._verdict(rollout) if order == "approve" and rollout.is_open else None
            after = stages.ordered(
                rollout,
                order,
                now_ms=self._journal.now_ms(),
                actor=actor,
                reason=reason,
                verdict=verdict,
            )
            return self._move(rollout, after)

    def step(self, tenant_id: str, id: str) -> Rollout:
        """Look at the evidence once, and move the rollout if that is called for."""
        with self._moving:
            return self._step(self.get(tenant_id, id))

    def run(self) -> None:
        """Look at every rollout that may move; one that fails does not keep the others from it."""
        failed: Exception | None = None
        moving = store.moving(self._database)
        head, now_ms = self._head(), self._journal.now_ms()
        looked = self._looked
        self._looked = {}
        for rollout in moving:
            key = (rollout.tenant_id, rollout.id, rollout.revision)
            seen, at_ms = looked.get(key, (None, 0))
            # Time alone can settle decisions, so it is looked at now and then without new facts too.
            if rollout.is_applied and seen == head and now_ms - at_ms < QUIET_MS:
                self._looked[key] = (head, at_ms)
                continue
            self._looked[key] = (head, now_ms)
            try:
                self.step(rollout.tenant_id, rollout.id)
            except StaleVersion:
                # Somebody moved it between the reading and now; the next look sees what they did.
                continue
            except Exception as error:  # noqa: BLE001 - raised again below, once the others had their turn
                failed = error
                _logger.warning(
                    "a rollout could not be judged",
                    extra={"rollout": rollout.id, "reason": str(error)},
                )
        if failed is not None:
            raise failed

    def _step(self, rollout: Rollout) -> Rollout:
        if not rollout.is_applied:
            return self._apply(rollout)
        if rollout.state == "promoted":
            return self._look_after(rollout)
        if rollout.state != "running":
            return rollout
        experiment = self._experiments.get(rollout.tenant_id, rollout.experiment_id)
        now_ms = self._journal.now_ms()
        # Other shares than the stage's would make the gate compare what was not assigned.
        if (changed := stages.drifted(rollout, experiment)) is not None:
            return self._move(
                rollout, stages.ordered(rollout, "hold", now_ms=now_ms, actor="", reason=changed)
            )
        return self._move(rollout, stages.judged(rollout, self._verdict(rollout), now_ms=now_ms))

    def _verdict(self, rollout: Rollout) -> Verdict:
        return judge(rollout.stages[rollout.stage].gate, self.evidence(rollout))

    def evidence(self, rollout: Rollout) -> Evidence:
        """Return what is known of both arms since the present stage of an open rollout began."""
        experiment = self._experiments.get(rollout.tenant_id, rollout.experiment_id)
        stage = rollout.stages[rollout.stage]
        live = [arm for arm in experiment.arms if arm.state == "enabled"]
        version = next(
            (arm.version for arm in experiment.arms if arm.id == rollout.challenger), None
        )
        return gather(
            self._warehouse(),
            experiment,
            stage.gate,
            champion=rollout.champion,
            challenger=rollout.challenger,
            # With a third arm the champion's share moves with the policy: 0 says that none is expected.
            share=stage.share if len(live) == 2 else 0.0,
            since_ms=rollout.entered_at_ms,
            now_ms=self._journal.now_ms(),
            assigned=rollout.assigned,
            suites=self._suites(rollout.tenant_id, version),
        )

    def _move(self, before: Rollout, after: Rollout) -> Rollout:
        if after is before:
            return before
        watch = self._new_watch(before) if after.state == "promoted" else None
        with self._journal.transaction() as session:
            store.change(session, before, after)
            if watch is not None:
                store.keep_watched(session, after, watch)
            self._tell(session, after)
        self._journal.try_relay()
        return after if after.is_applied else self._apply(after)

    def _apply(self, rollout: Rollout) -> Rollout:
        """Give the experiment the shares of the rollout's place, and note that it has them."""
        experiment = self._experiments.get(rollout.tenant_id, rollout.experiment_id)
        # An ended experiment serves nothing, so there is no share to give, and changing it is refused.
        if experiment.state != "ended":
            self._experiments.update(
                rollout.tenant_id,
                experiment.id,
                stages.amendment(rollout, experiment),
                actor=f"rollout/{rollout.id}",
            )
        applied = structs.replace(rollout, is_applied=True)
        with self._journal.transaction() as session:
            store.change(session, rollout, applied)
        return applied

    def _end_unapplied(self, rollout: Rollout, error: LoopError) -> None:
        ended = stages.ordered(
            rollout, "cancel", now_ms=self._journal.now_ms(), actor="", reason=error.message
        )
        with self._journal.transaction() as session:
            store.change(session, rollout, structs.replace(ended, is_applied=True))
            self._tell(session, ended)
        self._journal.try_relay()

    def _new_watch(self, rollout: Rollout) -> Watched | None:
        """Return a watch from what the champion had in the last stage; None where the reward has no bounds."""
        experiment = self._experiments.get(rollout.tenant_id, rollout.experiment_id)
        # The same measure as the watch has later: what arrived, without defaults for what did not.
        values = values_after(
            self._warehouse(),
            experiment,
            rollout.champion,
            since_ms=rollout.entered_at_ms,
            after=0,
        )
        scaled = [s for _, value in values if (s := _scaled(experiment, value)) is not None]
        if not scaled:
            return None
        mean = sum(scaled) / len(scaled)
        if not rollout.watch_margin < mean < 1:
            return None
        return Watched(watch=Watch.over(mean, margin=rollout.watch_margin))

    def _look_after(self, rollout: Rollout) -> Rollout:
        """Take a promotion back when the reward has fallen below what the champion had."""
        now_ms = self._journal.now_ms()
        known = store.watched(self._database, rollout)
        if known is None or now_ms > rollout.entered_at_ms + WATCHED_MS:
            return rollout
        newest = store.newest(
            self._database, rollout.tenant_id, experiment_id=rollout.experiment_id, limit=1
        )
        # What came after it has other arms to compare.
        if newest[0].id != rollout.id:
            return rollout
        experiment = self._experiments.get(rollout.tenant_id, rollout.experiment_id)
        watch, place = known.watch, known.place
        for found, value in values_after(
            self._warehouse(),
            experiment,
            rollout.challenger,
            since_ms=rollout.entered_at_ms,
            after=place,
        ):
            place = found
            if (scaled := _scaled(experiment, value)) is not None:
                watch = watch.after(scaled)
        if watch.has_dropped:
            reason = (
                f"{experiment.reward.metric} fell below {watch.least:.3f} (on 0 to 1), which the champion had less the "
                f"margin, over {watch.wealth.n} values since the promotion"
            )
            return self._move(rollout, stages.dropped(rollout, reason, now_ms=now_ms))
        if place != known.place:
            with self._journal.transaction() as session:
                store.keep_watched(session, rollout, Watched(watch=watch, place=place))
        return rollout

    def _require_cooled(self, made: Rollout) -> None:
        earlier = store.newest(
            self._database, made.tenant_id, experiment_id=made.experiment_id, limit=20
        )
        for rollout in earlier:
            ended_ms = rollout.moves[-1].at_ms
            was_taken_back = rollout.state in ("rolled_back", "rejected")
            if (
                was_taken_back
                and rollout.challenger == made.challenger
                and made.entered_at_ms - ended_ms < COOL_DOWN_MS
            ):
                raise Conflict(
                    f"the challenger {made.challenger!r} was taken back by rollout {rollout.id!r} less than a day ago "
                    f"({'; '.join(rollout.moves[-1].reasons)}); set again to try it all the same"
                )

    def _tell(self, session: Any, rollout: Rollout) -> None:
        """Keep the fact about the latest move."""
        move = rollout.moves[-1]
        self._journal.put(
            session,
            self._journal.told(
                rollout.tenant_id,
                f"rollout/{rollout.id}",
                move.action,
                actor=move.actor,
                experiment=rollout.experiment_id,
                challenger=rollout.challenger,
                champion=rollout.champion,
                stage=move.stage,
                state=rollout.state,
                reasons=list(move.reasons),
                verdict=None if move.verdict is None else msgspec.to_builtins(move.verdict),
            ),
        )


def _scaled(experiment: Experiment, value: float) -> float | None:
    """Return a reward on [0, 1]; None for one that learning does not take either, or that has no bounds."""
    spec = experiment.reward
    low, high = spec.scaled_range
    if spec.type == "continuous" and (spec.low is None or spec.high is None):
        return None
    try:
        taken, _ = normalise(spec, value)
    except LoopError:
        return None
    return (taken - low) / (high - low)
