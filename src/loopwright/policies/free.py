"""What context-free policies share: tallies in, one fixed law out.

The law depends on the state only, so it is worked out once per snapshot. `select` is then one bisect in a
plain list and returns a draw that was made beforehand.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from . import columns, exact, thompson_law
from .base import Allocation, ArmSummary, Batch, Diverged, Draw, Problem, Served, Spec
from .exact import Sums
from .explore import Exploration, cumulative, winners
from .summing import Summing
from .tallies import Tallies


class Judgement(msgspec.Struct, frozen=True):
    """A context-free policy's scores and law for the arms, by position.

    `scores` rank the arms. `weights` are the law before exploration; without them, all goes to the best
    score but for a share `epsilon` that is spread evenly.
    """

    scores: Sequence[float]
    weights: Sequence[float] | None = None
    epsilon: float = 0.0


class FixedLaw:
    """A law worked out beforehand, ready to draw from. Immutable."""

    __slots__ = ("_cumulative", "_draws", "_exploration", "_judgement", "_law", "arms")

    def __init__(
        self, arms: tuple[str, ...], judgement: Judgement, *, exploration: Exploration
    ) -> None:
        self.arms = arms
        self._judgement = judgement
        self._exploration = exploration
        # Before spreading: NaN fails every comparison there, and the error would not name the policy.
        if not _is_sound(judgement, exploration.enabled):
            raise Diverged("the policy's probabilities are not finite")
        self._law = self._spread(exploration.enabled)
        # Made once per snapshot: a select then makes no object.
        self._draws = [Draw(k, p) for k, p in enumerate(self._law)]
        self._cumulative = cumulative(self._law)

    @property
    def enabled(self) -> tuple[int, ...]:
        """Positions that can be drawn."""
        return self._exploration.enabled

    def select(
        self, vector: Sequence[float] | bytes | None, u: float, *, mask: Sequence[int] | None = None
    ) -> Draw:
        """Draw an arm with the uniform `u`; the vector is not looked at."""
        if mask is None:
            return self._draws[bisect_right(self._cumulative, u)]
        law = self.law(vector, mask=mask)
        arm = bisect_right(cumulative(law), u)
        return Draw(arm, law[arm])

    def law(
        self, vector: Sequence[float] | bytes | None = None, *, mask: Sequence[int] | None = None
    ) -> list[float]:
        """Return the probability of each arm, by position."""
        if mask is None:
            return list(self._law)
        return self._spread(self._exploration.allowed(mask))

    def _spread(self, allowed: Sequence[int]) -> list[float]:
        weights = self._judgement.weights
        # A mask may leave only arms to which the law gives nothing; the best of them is then better than an
        # even draw.
        if weights is None or not any(weights[k] > 0 for k in allowed):
            best = winners(self._judgement.scores, allowed)
            total, even = sum(best), self._judgement.epsilon / len(allowed)
            weights = [(1 - self._judgement.epsilon) * w / total + even for w in best]
        return self._exploration.spread(weights, allowed)


def _is_sound(judgement: Judgement, enabled: Sequence[int]) -> bool:
    weights = judgement.weights
    # A score may be infinite: it marks an arm that was never tried.
    return not any(math.isnan(judgement.scores[k]) for k in enabled) and (
        weights is None or all(math.isfinite(weights[k]) for k in enabled)
    )


class ContextFree(Summing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of policies that ignore contexts. A family member adds its parameters and `judge`."""

    spec: ClassVar[Spec]
    weighs: ClassVar[Literal["reward", "loss"] | None] = None
    """What is summed divided by the logged propensity, if anything."""

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the scores and law of the `enabled` arms; the entries of other arms do not count."""
        raise NotImplementedError

    def empty(self, problem: Problem) -> Sums:
        """Return the state before any event."""
        return exact.empty(len(problem.arms), self._columns)

    def stats(self, problem: Problem, batch: Batch) -> Sums:
        """Return the sums of `batch` alone."""
        if self.weighs is None:
            found = columns.free(problem, batch)
        else:
            found = columns.weighted(problem, batch, loss=self.weighs == "loss")
        return exact.sums_of(batch.arms, found, count=len(problem.arms))

    def prepare(
        self,
        problem: Problem,
        state: Sums,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> Served:
        """Return the law of this state, ready to draw from."""
        columns.check_shape(problem, state, columns=self._columns)
        exploration = Exploration(problem, allocation)
        judgement = self.judge(problem, Tallies(state, one=0), enabled=exploration.enabled)
        return FixedLaw(problem.arms, judgement, exploration=exploration)

    def summaries(self, problem: Problem, state: Sums, allocation: Allocation) -> list[ArmSummary]:
        """Return what is known of each arm; P(best) is that of Thompson sampling, whatever the policy."""
        served = self.prepare(problem, state, allocation)
        tallies = Tallies(state, one=0)
        # One definition for all policies, so that P(best) compares between experiments.
        best = thompson_law.best(problem, tallies, enabled=served.enabled)
        return [
            tallies.summary(problem, k, share=share, p_best=best[k])
            for k, share in enumerate(served.law(None))
        ]

    @property
    def _columns(self) -> int:
        return 2 if self.weighs is None else 3
