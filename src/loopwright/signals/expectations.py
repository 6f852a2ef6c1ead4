"""Predicted outcomes of decisions, by the current surrogates of the tasks that their experiments name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from loopwright.core.decision import Decision
from loopwright.core.errors import Broken, Invalid, NotFound
from loopwright.core.experiment import Experiment
from loopwright.people.people import People

from .registry import Surrogates
from .surrogate import Surrogate

logger = logging.getLogger(__name__)


class Expectations:
    """Expects the outcome of decisions whose experiment shapes its reward.

    A surrogate is read again when a newer one is current. A surrogate that cannot be used is logged once, and
    nothing is expected until there is a newer one.
    """

    def __init__(
        self,
        surrogates: Surrogates,
        *,
        find: Callable[[str, str], Experiment | None],
        people: People,
    ) -> None:
        self._surrogates = surrogates
        self._find = find
        self._people = people
        # None for a surrogate that cannot be used: the error is logged once, and not for every session.
        self._known: dict[tuple[str, str, str], tuple[int, Surrogate | None]] = {}

    def metric(self, decision: Decision) -> str | None:
        """Return the metric to expect of a decision; None when its reward is not shaped."""
        spec = None if (found := self._shaped(decision)) is None else found.reward
        return None if spec is None else spec.metric

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        """Return the expected value of that metric and the surrogate's version.

        None without a surrogate of that metric, and when the person does not consent to training.
        """
        experiment = self._shaped(decision)
        if experiment is None or not self._may_train(decision.tenant_id, person):
            return None
        assert experiment.reward.shaping is not None
        surrogate = self._current(
            decision.tenant_id, experiment.reward.shaping, metric=experiment.reward.metric
        )
        return None if surrogate is None else (surrogate.predict(signals), surrogate.version)

    def _shaped(self, decision: Decision) -> Experiment | None:
        """Return the experiment of a decision, if its reward is shaped and the decision teaches it."""
        experiment = self._find(decision.tenant_id, decision.experiment_id)
        if experiment is None or experiment.reward.shaping is None or decision.mode != "live":
            return None
        # A paused experiment may be resumed, and then learns from these facts.
        return experiment if experiment.state in ("running", "paused") else None

    def _may_train(self, tenant_id: str, person: str | None) -> bool:
        """Say whether facts of a person may train; never those of an erased person."""
        if person is None:
            return True
        try:
            # The present consent, not the one that the facts carried: it may have been withdrawn since.
            consent = self._people.find(tenant_id, person).consent
        except NotFound:
            return False
        return consent is None or "train" in consent

    def _current(self, tenant_id: str, task: str, *, metric: str) -> Surrogate | None:
        key = (tenant_id, task, metric)
        try:
            number = self._surrogates.newest(tenant_id, task)
        # A task whose name cannot be a blob's name has no surrogate.
        except Invalid:
            return None
        if number is None:
            return None
        known, surrogate = self._known.get(key, (-1, None))
        if known != number:
            surrogate = self._load(tenant_id, task, metric=metric)
            self._known[key] = (number, surrogate)
        return surrogate

    def _load(self, tenant_id: str, task: str, *, metric: str) -> Surrogate | None:
        try:
            found = self._surrogates.current(tenant_id, task)
            # A prediction of another metric would be learned as this one, without any error.
            if found.metric == metric:
                return found
            why = (
                f"the surrogate is of {found.metric!r}, the reward of {metric!r}; calibrate for it"
            )
        except (NotFound, Broken) as error:
            why = error.message
        logger.error(
            "a reward cannot be shaped", extra={"tenant_id": tenant_id, "task": task, "reason": why}
        )
        return None
