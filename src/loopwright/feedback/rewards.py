"""Rewards: from a request to a fact for the log.

Intake verifies the request and returns the fact with the key under which the log stores it once. Appending it is the
caller's next step, so HTTP and embedded use share this code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from loopwright.core.clock import Clock
from loopwright.core.decision import Decision
from loopwright.core.errors import RewardInvalid, TokenForeign
from loopwright.core.events import Received
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.core.ports import Mark
from loopwright.core.reward import RewardSpec, normalise
from loopwright.core.token import Signer

from .identity import canonical, holder, reward_content, reward_key

BATCH_LIMIT: Final = 1000

FOREIGN: Final = ("foreign_metric",)

Metric = Annotated[str, Meta(min_length=1, max_length=128)]
EventId = Annotated[str, Meta(min_length=1, max_length=128)]


class FeedbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The reward of a decision. Send the same `event_id` again when retrying; it never counts twice."""

    request_id: str
    reward: float
    metric: Metric | None = None
    """What was measured; the experiment's own metric when it is left out. Only that one is learned from."""
    event_id: EventId | None = None


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to a thousand rewards; each item is accepted or refused on its own."""

    items: Annotated[list[FeedbackRequest], Meta(min_length=1, max_length=BATCH_LIMIT)]


Shielded = Callable[[Decision], Decision]
"""Returns a decision with pseudonyms in place of ids of people."""


def unchanged(decision: Decision) -> Decision:
    """Return a decision as it is."""
    return decision


class Intake:
    """Verifies feedback and gives each fact its identity."""

    def __init__(
        self,
        signer: Signer,
        *,
        find: Callable[[str, str], Experiment],
        clock: Clock,
        ids: Ids,
        shielded: Shielded = unchanged,
    ) -> None:
        self.signer = signer
        self._shielded = shielded
        self._find = find
        self._now_ms = clock.now_ms
        self._new_id = ids

    def accept(self, tenant_id: str, request: FeedbackRequest) -> tuple[Received, bytes]:
        """Return the fact and its unique key.

        Raises a token error (`TokenMalformed`, `TokenForged`, `TokenKeyRetired`, `TokenExpired`,
        `TokenForeign`), `NotFound` when the experiment is gone, or `RewardInvalid`.
        """
        now_ms = self._now_ms()
        decision = self.signer.verify(request.request_id, now_ms=now_ms)
        # After the signature: before it, the tenant in a token is what any sender may have written.
        if decision.tenant_id != tenant_id:
            raise TokenForeign("request_id was issued to another tenant; use that tenant's API key")
        experiment = self._find(tenant_id, decision.experiment_id)
        metric = request.metric or experiment.reward.metric
        _check(experiment.reward, metric, request.reward)
        event_id = request.event_id or self._new_id(now_ms)
        outcome = Outcome(metric, request.reward)
        fact = Received(event_id, now_ms, self._shielded(decision), outcome)
        rewarded = Rewarded(decision.id, metric, request.reward)
        if request.event_id is None:
            return fact, _nameless(experiment.reward, rewarded, event_id)
        return fact, mark_of(experiment.reward, rewarded, event_id)

    def flags_of(self, fact: Received) -> tuple[str, ...]:
        """Return what is odd about an accepted fact: `foreign_metric` when nothing is learned from its metric."""
        decision = fact.decision
        spec = self._find(decision.tenant_id, decision.experiment_id).reward
        return () if fact.feedback.metric == spec.metric else FOREIGN


def _check(spec: RewardSpec, metric: str, value: float) -> None:
    if metric == spec.metric:
        normalise(spec, value)
    # The range of another metric is not known here; what is not finite would spoil every mean of it.
    elif not math.isfinite(value):
        raise RewardInvalid(f"{metric} is {value}; it must be a finite number")


def identity_of(spec: RewardSpec, metric: str, event_id: str) -> str:
    """Return the part of a reward's key that repetitions share: see `RewardSpec.duplicates`."""
    # Without the event id, whatever comes second has the same key, and the log refuses it.
    if spec.duplicates == "first" or metric != spec.metric:
        return metric
    return f"{metric}\0{event_id}"


class Rewarded(NamedTuple):
    """What a decision earned by one metric."""

    decision_id: str
    metric: str
    value: float


def mark_of(spec: RewardSpec, said: Rewarded, event_id: str) -> Mark:
    """Return the mark of a reward with an event id: another value under the same id is a conflict."""
    name = canonical(event_id)
    key = reward_key(said.decision_id, identity_of(spec, said.metric, name))
    return Mark(key, reward_content(said.value), id=holder(name))


def _nameless(spec: RewardSpec, said: Rewarded, event_id: str) -> bytes:
    """Return the key of a reward without an event id, which got the fresh one given.

    Where the latest one counts, a reward equal to the latest is its repetition; where all add up, each is one more.
    """
    identity = identity_of(spec, said.metric, event_id)
    if spec.duplicates != "latest" or identity == said.metric:
        return reward_key(said.decision_id, identity)
    key = reward_key(said.decision_id, identity_of(spec, said.metric, _NAMELESS))
    return Mark(key, reward_content(said.value), id=bytes.fromhex(event_id), revises=True)


_NAMELESS: Final = " latest"
"""Stands in place of an event id; no id is equal to it, as a canonical one does not begin with a space."""
