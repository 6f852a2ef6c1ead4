"""The loop in your own process: no server, no network, the same durable log.

import loopwright

with loopwright.open("loopwright-data") as loop:
    selection = loop.agent.select(experiment_id="greeting")
    loop.agent.feedback(request_id=selection.request_id, reward=1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from msgspec import structs

from loopwright.catalog import DEFAULT_TENANT, Amendment, ArmChange
from loopwright.client.answers import SKIPPED, BatchReceipt, FeedbackItem, Receipt, counted
from loopwright.client.arguments import listed, mappings, number, text
from loopwright.core.context import Context
from loopwright.core.errors import Conflict, EventConflict, LoopError
from loopwright.core.events import Fact
from loopwright.core.experiment import Arm, Caps, ContextSpec, Experiment, PolicyChoice
from loopwright.core.ports import Committed
from loopwright.core.reward import RewardSpec
from loopwright.core.targeting import Targeting
from loopwright.feedback import (
    NOTHING_STORED,
    TypedBatch,
    TypedResult,
    stored_id,
)
from loopwright.insights import Insights, QualityReport
from loopwright.insights.trusted import trusted_report
from loopwright.learning.status import Status
from loopwright.people.raw import OFF, RawCopy, RawNotKept
from loopwright.serving import Selection, SelectRequest
from loopwright.trust.clearances import Clearance, NewClearance
from loopwright.trust.summary import TrustSummary
from loopwright.warehouse.period import period

from .acks import COMMIT_TIMEOUT_S, returning
from .arguments import Opened, Part, checked, plain_item, report_of, rewards
from .exporting import Exporting
from .settings import load_settings
from .tenancy import Tenancy
from .wiring import Services

_T = TypeVar("_T")


def open_loop(path: str | Path = "loopwright-data", *, tenant_id: str = DEFAULT_TENANT) -> Loop:
    """Return a running loop over the data directory `path`, made if it is not there.

    Close it, or use it in a `with` block. Raises `DirectoryLocked` when a server or another process has the
    directory open.
    """
    services = Services(load_settings(data_dir=path))
    services.start()
    return Loop(services, tenant_id)


class Loop(Exporting):
    """One tenant's view of a loop in this process. Safe to use from several threads."""

    def __init__(self, services: Services, tenant_id: str) -> None:
        super().__init__(Opened(services), tenant_id)
        self.agent = Agent(self._opened, tenant_id)
        self.experiments = Experiments(self._opened, tenant_id)
        self.feedback = Feedback(self._opened, tenant_id)
        self.tenants = Tenancy(self._opened, tenant_id)

    def wait_until_learned(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything sent so far is in the served snapshots; False when `timeout_s` passes first."""
        services, timeout_s = self._opened.services, number("timeout_s", timeout_s)
        # Flushed before the head is read: the head then covers everything that this caller sent.
        return services.truth.writer.flush(timeout_s) and services.learner.wait_until(
            services.truth.log.head(), timeout_s
        )

    def close(self) -> None:
        """Store what waits, checkpoint what was learned, and let the directory go; a second call does nothing.

        Calls after it raise `Conflict`, as do all calls in a forked child.
        """
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Agent(Part):
    """Select and feedback."""

    def select(
        self,
        experiment_id: str,
        context: Context | Mapping[str, Any] | None = None,
        *,
        unit_id: str | None = None,
        mask: Sequence[str] | None = None,
    ) -> Selection:
        """Return an arm for `context` (`id`, `vector`, `metadata`) and the token for its feedback."""
        request = checked(
            SelectRequest,
            experiment_id=experiment_id,
            context={} if context is None else context,
            unit_id=unit_id,
            mask=mask,
        )
        return self._counted().door.selector.select(
            self._tenant_id,
            request.experiment_id,
            context=request.context,
            unit_id=request.unit_id,
            mask=request.mask,
        )

    def feedback(
        self,
        request_id: str | None,
        reward: float,
        *,
        metric: str | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """Store what a decision earned, by default in the experiment's metric; returns once it is durable.

        Nothing is stored for the `request_id` None, which a client's fallback selection has: the receipt says `skipped`.
        """
        item = {
            "request_id": request_id,
            "reward": reward,
            "metric": metric,
            "event_id": event_id,
        }
        (result,) = self.feedback_batch([item]).results
        if isinstance(result, LoopError):
            raise result
        return result

    def feedback_batch(self, items: Iterable[FeedbackItem | Mapping[str, Any]]) -> BatchReceipt:
        """Store many rewards in one commit; each is accepted, known already, or refused on its own."""
        services = self._counted()
        intake, meters = services.door.intake, services.truth.catalog.meters
        results: list[Receipt | LoopError] = []
        facts, keys, places = [], [], []
        for item in rewards(items):
            if item.get("request_id", "") is None:
                results.append(SKIPPED)
                continue
            try:
                fact, key = intake.accept(self._tenant_id, report_of(item))
                # One by one: a batch that is partly beyond a quota is refused in part.
                meters.take(self._tenant_id, (fact,))
            except LoopError as error:
                results.append(error)
                continue
            facts.append(fact)
            keys.append(key)
            places.append(len(results))
            results.append(SKIPPED)
        committed = _append(services, facts, keys) if facts else NOTHING_STORED
        for n, (place, fact) in enumerate(zip(places, facts, strict=True)):
            results[place] = (
                # Only the log knows what an event id was used for, so this comes after the commit.
                EventConflict(fact.event_id)
                if n in committed.conflicts
                else Receipt(
                    stored_id(committed, n, fact.event_id),
                    fact.decision.id,
                    committed.duplicates[n],
                    flags=intake.flags_of(fact),
                )
            )
        return counted(results)


class Feedback(Part):
    """Feedback of every kind, interactions and steps; and the report that is made of them."""

    def send(self, items: Sequence[Mapping[str, Any]]) -> list[TypedResult]:
        """Store feedback of any kind, in any shape the server reads; returns once it is durable."""
        return self._take("feedback", items)

    def interactions(self, items: Sequence[Mapping[str, Any]]) -> list[TypedResult]:
        """Store calls of your AI product: versions, tokens, latencies, errors."""
        return self._take("interaction", items)

    def steps(self, items: Sequence[Mapping[str, Any]]) -> list[TypedResult]:
        """Store steps that an agent took, or their outcomes, by session."""
        return self._take("step", items)

    def raw(self, event_id: str) -> RawCopy:
        """Return feedback as it came, before redaction; the log records the read before it returns.

        Raises `NotFound`, with a code that says why, when there is no raw copy of it.
        """
        services = self._services
        if services.truth.raw is None:
            raise RawNotKept(OFF)
        copy = services.truth.raw.look(
            partial(_append, services),
            tenant_id=self._tenant_id,
            event_id=event_id,
            actor="embedded",
        )
        # The server hands the copy on as JSON text; a caller in Python gets its values.
        return structs.replace(copy, item=msgspec.json.decode(copy.item))

    def quality(self, *, days: int = 30, tz: str | None = None) -> QualityReport:
        """Return the quality report of the last `days`, weighed by trust.

        Days begin at midnight in the time zone `tz` (IANA), the tenant's when not given.
        """
        insights = Insights(self._services.reports.warehouse, clock=self._services.truth.clock)
        return trusted_report(
            insights,
            self._services.reports.trust(),
            self._tenant_id,
            period(insights.now_ms(), days=days, tz=tz or self.timezone()),
        )

    def trust(self, *, days: int = 30) -> TrustSummary:
        """Return how much of the last `days` counts by trust, why the rest does not, and the bursts."""
        now_ms = self._services.truth.clock.now_ms()
        return self._services.reports.trust().summary(
            self._tenant_id,
            period(now_ms, days=days, tz=self.timezone()),
            now_ms=now_ms,
        )

    def release(
        self,
        *,
        from_ms: int,
        to_ms: int,
        experiment_id: str | None = None,
        arm_id: str | None = None,
        note: str = "",
    ) -> Clearance:
        """Let what was held back as a burst of this arm and time, both ends included, count from now on."""
        asked = checked(
            NewClearance,
            from_ms=from_ms,
            to_ms=to_ms,
            experiment_id=experiment_id,
            arm_id=arm_id,
            note=note,
        )
        return self._services.reports.clearing.clear(self._tenant_id, asked, actor="embedded")

    def withdraw(self, release_id: str) -> Clearance:
        """Take a release back: what it let count is held back again. Raises `NotFound`."""
        return self._services.reports.clearing.withdraw(
            self._tenant_id, release_id, actor="embedded"
        )

    def timezone(self) -> str:
        """Return the time zone (IANA) at whose midnights the days of reports begin when a call names none."""
        return self._services.truth.catalog.zones.of(self._tenant_id)

    def set_timezone(self, tz: str) -> str:
        """Let the days of reports, and the dates of exports, begin at midnight in `tz` (IANA); return its name."""
        return self._services.truth.catalog.zones.set(
            self._tenant_id, text("tz", tz), actor="embedded"
        )

    def _take(self, path: str, items: Sequence[Mapping[str, Any]]) -> list[TypedResult]:
        services = self._counted()
        intake = services.door.typed_intake
        prepared = intake.prepare(
            self._tenant_id, path, [plain_item(item) for item in mappings("items", items)]
        )
        committed = NOTHING_STORED
        if prepared.facts:
            committed = _append(services, prepared.facts, prepared.keys)
        # Also without any fact to store: `settle` answers for the items that were refused.
        results = intake.settle(prepared, committed)
        assert isinstance(results.content, TypedBatch)
        return results.content.results


class Experiments(Part):
    """Make experiments and move them through their life."""

    def create(
        self,
        id: str,
        *,
        arms: Sequence[Arm | str],
        policy: str | PolicyChoice = "auto",
        reward: RewardSpec | str = "binary",
        dimension: int | None = None,
        explore_floor: float = 0.01,
        gate: Targeting | None = None,
        trust: Caps | None = None,
        name: str = "",
        start: bool = True,
        exists_ok: bool = False,
    ) -> Experiment:
        """Create an experiment and, unless told otherwise, start it.

        `arms` are `Arm`s or bare ids; `reward` is a spec or just a type; `dimension` makes it contextual;
        `trust` caps what one person teaches. With `exists_ok` an experiment of that id that is already there comes
        back as it is, a draft started; without, it is a `Conflict`.
        """
        draft = checked(
            Experiment,
            id=id,
            tenant_id=self._tenant_id,
            name=name,
            arms=[Arm(id=arm) if isinstance(arm, str) else arm for arm in listed("arms", arms)],
            policy=PolicyChoice(policy) if isinstance(policy, str) else policy,
            reward={"type": reward} if isinstance(reward, str) else reward,
            context=None if dimension is None else ContextSpec(dimension),
            explore_floor=explore_floor,
            gate=gate,
            trust=trust,
        )
        try:
            # Not looked up first: another thread could create it between the look and this call.
            found = self._services.truth.catalog.experiments.create(draft, actor="embedded")
        except Conflict:
            if not exists_ok:
                raise
            found = self.get(id)
        return self.start(id) if start and found.state == "draft" else found

    def get(self, id: str) -> Experiment:
        """Return an experiment; raises `NotFound`."""
        return self._services.truth.catalog.experiments.get(self._tenant_id, text("id", id))

    def list(self) -> Sequence[Experiment]:
        """Return every experiment, ended ones too."""
        return self._services.truth.catalog.experiments.all(self._tenant_id)

    def status(self, id: str) -> Status:
        """Return how an experiment is doing: its arms with n, mean, interval and share."""
        # For its `NotFound`: the catalog decides which experiments there are.
        self.get(id)
        return self._services.learner.status(self._tenant_id, id)

    def start(self, id: str) -> Experiment:
        """Begin to select and to learn."""
        return self._move(id, "start")

    def pause(self, id: str) -> Experiment:
        """Stop selecting and learning; feedback is kept and trains at `resume`."""
        return self._move(id, "pause")

    def resume(self, id: str) -> Experiment:
        """Go on, first learning what arrived meanwhile."""
        return self._move(id, "resume")

    def end(self, id: str) -> Experiment:
        """Stop for good."""
        return self._move(id, "end")

    def add_arm(self, id: str, arm: Arm | str) -> Experiment:
        """Add an arm to a draft or running experiment."""
        arm = arm if isinstance(arm, Arm) else Arm(id=arm)
        return self._services.truth.catalog.experiments.add_arm(
            self._tenant_id, id, arm, actor="embedded"
        )

    def change_arm(self, id: str, arm_id: str, change: ArmChange) -> Experiment:
        """Enable, disable or retire an arm, or change its shares, payload or metadata."""
        return self._services.truth.catalog.experiments.change_arm(
            self._tenant_id, id, arm_id, change, actor="embedded"
        )

    def update(self, id: str, amendment: Amendment) -> Experiment:
        """Change what may still be changed."""
        return self._services.truth.catalog.experiments.update(
            self._tenant_id, id, amendment, actor="embedded"
        )

    def _move(self, id: str, move: Any) -> Experiment:
        return self._services.truth.catalog.experiments.move(
            self._tenant_id, id, move, actor="embedded"
        )


def _append(services: Services, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
    """Return once `facts` are durable; raises what the log refused them with."""
    meters = services.truth.catalog.meters
    if not meters:
        return services.truth.writer.append(facts, keys, timeout_s=COMMIT_TIMEOUT_S)
    with returning(meters, facts) as unused:
        committed = services.truth.writer.append(facts, keys, timeout_s=COMMIT_TIMEOUT_S)
        unused(committed)
        return committed


__all__ = ["Agent", "Experiments", "Loop", "open_loop"]
