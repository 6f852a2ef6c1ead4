"""The terms of one experiment: which facts teach, and the reward that a value earns. What does not teach is counted."""

from __future__ import annotations

import math

from loopwright.core.decision import Decision
from loopwright.core.errors import RewardInvalid
from loopwright.core.experiment import Experiment
from loopwright.core.reward import settle

from .tally import Reason, Tally


class Terms:
    """What both ways of joining ask of an experiment.

    `arms` has the position of each arm by its id; `width` is the length of a context's vector in bytes, None
    without a context.
    """

    def __init__(self, experiment: Experiment, tally: Tally) -> None:
        context = experiment.context
        self.spec = experiment.reward
        self.tally = tally
        self.arms = {arm.id: position for position, arm in enumerate(experiment.arms)}
        self.width = None if context is None else 8 * context.dimension

    def reason(self, decision: Decision, metric: str) -> Reason | None:
        """Return why a fact about `decision` teaches nothing, if so."""
        if decision.mode != "live":
            return "mode"
        if metric != self.spec.metric:
            return "metric"
        if decision.arm_id not in self.arms:
            return "arm"
        if self.width is not None and len(decision.vector or b"") != self.width:
            return "context"
        return None

    def reward(self, seen: tuple[float, ...]) -> float | None:
        """Return the reward for the values that count; None, counted, when the experiment cannot use them."""
        try:
            # `seen` holds exact partial sums (see `memory.add_exactly`), so `fsum` rounds once, in whatever order they came.
            return settle(self.spec, seen[0] if len(seen) == 1 else math.fsum(seen))
        except RewardInvalid:
            self.tally.skip("reward")
            return None
