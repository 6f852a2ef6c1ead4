"""The simplest policies: choose the best so far except for a share of the time, or choose evenly.

Reference: Sutton and Barto, "Reinforcement learning", 2nd edition (2018), section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from . import linear
from .base import Allocation, ArmSummary, Batch, Problem, Served, Spec
from .exact import Sums
from .explore import Exploration
from .free import ContextFree, Judgement
from .linear_model import Model
from .tallies import Tallies


class EpsilonGreedy(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best mean so far, but for a share `epsilon` spread evenly. Arms never tried come first.

    With a context, the best is the largest linear estimate xᵀθ (see `linear`), with `ridge` its prior weight.
    """

    spec: ClassVar[Spec] = Spec(
        name="EpsilonGreedy",
        aliases=("EpsGreedy", "EpsilonGreedyPolicy", "e-greedy", "LinEpsilonGreedy"),
        context="optional",
        law="closed",
        paper="Sutton and Barto 2018",
    )
    epsilon: Annotated[float, Meta(ge=0, le=1)] = 0.1
    ridge: linear.Ridge = 1.0

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the mean of each arm as its score, infinite for those never tried."""
        # Untried arms tie at infinity, so they share the draw evenly until each has been tried.
        scores = [m if n else math.inf for m, n in zip(tallies.means, tallies.counts, strict=True)]
        return Judgement(scores, epsilon=self.epsilon)

    def empty(self, problem: Problem) -> Sums:
        """Return the state before any event."""
        return linear.empty(problem) if problem.features else super().empty(problem)

    def stats(self, problem: Problem, batch: Batch) -> Sums:
        """Return the sums of `batch` alone."""
        return linear.stats(problem, batch) if problem.features else super().stats(problem, batch)

    def prepare(
        self,
        problem: Problem,
        state: Sums,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> Served:
        """Return the law of this state, or with a context its linear model, ready to choose."""
        if not problem.features:
            return super().prepare(problem, state, allocation)
        exploration = Exploration(problem, allocation)
        earlier = linear.model_of(previous)
        model = Model(problem, state, ridge=self.ridge, previous=earlier)
        rule = linear.Greedy(self.epsilon)
        return linear.LinearLaw(problem, model, rule=rule, exploration=exploration)

    def summaries(self, problem: Problem, state: Sums, allocation: Allocation) -> list[ArmSummary]:
        """Return what is known of each arm."""
        served = self.prepare(problem, state, allocation)
        if isinstance(served, linear.LinearLaw):
            return linear.summaries(problem, state, served)
        return super().summaries(problem, state, allocation)


class Uniform(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chooses evenly among the enabled arms, whatever it learns: the A/B test, and the yardstick."""

    spec: ClassVar[Spec] = Spec(
        name="Uniform",
        aliases=("Random", "AB"),
        law="closed",
        paper="Sutton and Barto 2018",
    )

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return even weights."""
        return Judgement(tallies.means, [1.0] * len(tallies.counts))
