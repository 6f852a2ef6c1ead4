"""The loop in your own process: no server, no network, the same durable log.

import loopwright

with loopwright.open("loopwright-data") as loop:
    selection = loop.agent.select(experiment_id="greeting")
    loop.agent.feedback(request_id=selection.request_id, reward=1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from loopwright.catalog import DEFAULT_TENANT
from loopwright.client.answers import SKIPPED, BatchReceipt, FeedbackItem, Receipt, counted
from loopwright.client.arguments import number
from loopwright.core.context import Context
from loopwright.core.errors import EventConflict, LoopError
from loopwright.feedback import (
    NOTHING_STORED,
    stored_id,
)
from loopwright.serving import Selection, SelectRequest

from .appending import append
from .arguments import Opened, Part, checked, report_of, rewards
from .datasetting import Datasets
from .experimenting import Experiments
from .exporting import Exporting, Exports
from .hearing import Feedback
from .keyholding import Keys
from .limiting import Limits
from .rolling import Rollouts, Versions
from .settings import load_settings
from .tenancy import Tenancy
from .triggering import Triggers
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
        self.keys = Keys(self._opened, tenant_id)
        self.exports = Exports(self._opened, tenant_id)
        self.datasets = Datasets(self._opened, tenant_id)
        self.limits = Limits(self._opened, tenant_id)
        self.versions = Versions(self._opened, tenant_id)
        self.rollouts = Rollouts(self._opened, tenant_id)
        self.triggers = Triggers(self._opened, tenant_id)

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
        committed = append(services, facts, keys) if facts else NOTHING_STORED
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


__all__ = ["Agent", "Experiments", "Feedback", "Loop", "open_loop"]
