"""Rewards: from a request to a fact for the log.

Intake verifies the request and returns the fact with the key under which the log stores it once. Appending it is the
caller's next step, so HTTP and embedded use share this code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from loopwright.core.clock import Clock
from loopwright.core.errors import RewardInvalid, TokenForeign
from loopwright.core.events import Received
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.core.reward import RewardSpec, normalise
from loopwright.core.token import Signer

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


class Intake:
    """Verifies feedback and gives each fact its identity."""

    def __init__(
        self,
        signer: Signer,
        *,
        find: Callable[[str, str], Experiment],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.signer = signer
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
        if decision.tenant_id != tenant_id:
            raise TokenForeign("request_id was issued to another tenant; use that tenant's API key")
        experiment = self._find(tenant_id, decision.experiment_id)
        metric = request.metric or experiment.reward.metric
        _check(experiment.reward, metric, request.reward)
        event_id = request.event_id or self._new_id(now_ms)
        fact = Received(event_id, now_ms, decision, Outcome(metric, request.reward))
        return fact, reward_key(decision.id, identity_of(experiment.reward, metric, event_id))

    def flags_of(self, fact: Received) -> tuple[str, ...]:
        """Return what is odd about an accepted fact: `foreign_metric` when nothing is learned from its metric."""
        decision = fact.decision
        spec = self._find(decision.tenant_id, decision.experiment_id).reward
        return () if fact.feedback.metric == spec.metric else FOREIGN


def _check(spec: RewardSpec, metric: str, value: float) -> None:
    if metric == spec.metric:
        normalise(spec, value)
    elif not math.isfinite(value):
        raise RewardInvalid(f"{metric} is {value}; it must be a finite number")


def identity_of(spec: RewardSpec, metric: str, event_id: str) -> str:
    """Return the part of a reward's key that repetitions share: see `RewardSpec.duplicates`."""
    if spec.duplicates == "first" or metric != spec.metric:
        return metric
    return f"{metric}\0{event_id}"


def reward_key(decision_id: str, identity: str) -> bytes:
    """Return 24 bytes that begin with the decision's time, so that the log's key index grows at its end."""
    return bytes.fromhex(decision_id) + blake2b(identity.encode(), digest_size=8).digest()
