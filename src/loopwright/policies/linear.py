"""Linear policies: the reward of an arm is a linear function of the context, learned arm by arm.

With A = λI + Σxxᵀ and b = Σrx of an arm, its estimate for context x is xᵀθ with θ = A⁻¹b, and xᵀA⁻¹x says how
little is known in that direction. A is kept as exact sums; the inverse is rebuilt for every snapshot, never
updated in place.

References: Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article
recommendation", WWW 2010; Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs",
ICML 2013; Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, ClassVar, Final, Protocol

import numpy as np
from msgspec import Meta

from loopwright.core.context import pack
from loopwright.core.errors import ContextInvalid

from . import columns, exact
from .base import (
    LEAST_PROPENSITY,
    Allocation,
    ArmSummary,
    Batch,
    Diverged,
    Draw,
    Floats,
    Problem,
    Served,
    Spec,
)
from .exact import Sums
from .explore import Exploration, cumulative
from .gaussians import LEADING, best_of
from .linear_model import Model
from .summing import Summing
from .tallies import Tallies

_ONE: Final = struct.pack("<d", 1.0)
_FLOAT: Final = np.dtype("<f8")
_LEAST_UNCERTAINTY: Final = 1e-24
"""Rounding must not make xᵀA⁻¹x negative, nor a context of zeros make it nothing."""
_TIE: Final = 1e-9
"""Scores this close, relative to their size, are one score: a matrix product may round rows differently."""

_AT_ONCE: Final = 1700
"""Contexts worked out together times arms times leading arms: more would leave the processor's nearest caches."""

Ridge = Annotated[float, Meta(gt=0, le=1e12)]


class Rule(Protocol):
    """Turns what the model says of some arms into their law before exploration, for several contexts at once."""

    def __call__(self, means: Floats, variances: Floats) -> list[list[float]]:
        """Return weights that add up to 1 in each row, for `means` and `variances` f64[n, K]."""
        ...


class Optimist:
    """All on the largest mean + width · sqrt(variance)."""

    __slots__ = ("_width",)

    def __init__(self, width: float) -> None:
        self._width = width

    def __call__(self, means: Floats, variances: Floats) -> list[list[float]]:
        # The index of LinUCB (Li and others 2010, algorithm 1).
        scores = means + self._width * np.sqrt(variances)
        return [_shared_by_best(row) for row in scores.tolist()]


class Matcher:
    """Each arm with the probability that its N(mean, (width² · variance)) is the largest."""

    __slots__ = ("_width",)

    def __init__(self, width: float) -> None:
        self._width = width

    def __call__(self, means: Floats, variances: Floats) -> list[list[float]]:
        weights: list[list[float]] = best_of(means, self._width * np.sqrt(variances)).tolist()
        return weights


class Greedy:
    """All on the largest mean, but for a share spread evenly."""

    __slots__ = ("_epsilon",)

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon

    def __call__(self, means: Floats, variances: Floats) -> list[list[float]]:
        even = self._epsilon / means.shape[1]
        return [
            [(1 - self._epsilon) * weight + even for weight in _shared_by_best(row)]
            for row in means.tolist()
        ]


def _shared_by_best(scores: list[float]) -> list[float]:
    """Return weights: even over the best scores."""
    top = max(scores)
    if not math.isfinite(top):
        raise Diverged("a score is not finite")
    least = top - _TIE * (1 + abs(top))
    weights = [1.0 if score >= least else 0.0 for score in scores]
    ties = sum(weights)
    return weights if ties == 1 else [weight / ties for weight in weights]


class LinearLaw:
    """A linear model and a rule, ready to choose. Immutable."""

    __slots__ = (
        "_at_once",
        "_count",
        "_even",
        "_exploration",
        "_features",
        "_floor",
        "_is_plain",
        "_rule",
        "_stack",
        "_tail",
        "arms",
        "model",
    )

    def __init__(
        self, problem: Problem, model: Model, *, rule: Rule, exploration: Exploration
    ) -> None:
        self.arms = problem.arms
        self.model = model
        self._rule = rule
        self._exploration = exploration
        self._features = problem.features
        self._tail = _ONE if problem.intercept else b""
        inverse, theta = model.inverse, model.theta
        self._count = len(exploration.enabled)
        if self._count < len(problem.arms):
            enabled = list(exploration.enabled)
            inverse, theta = inverse[enabled], theta[enabled]
        # One matrix product gives A⁻¹x of all enabled arms and their means.
        stack = np.concatenate((inverse.reshape(-1, problem.dimension), theta))
        self._stack = np.ascontiguousarray(stack.T)
        self._floor = exploration.floor
        self._even = exploration.floor / self._count
        self._at_once = max(_AT_ONCE // (self._count * min(self._count, LEADING)), 1)
        self._is_plain = not exploration.has_shares and self._even >= LEAST_PROPENSITY

    @property
    def enabled(self) -> tuple[int, ...]:
        """Positions that can be drawn."""
        return self._exploration.enabled

    def select(
        self, vector: Sequence[float] | bytes | None, u: float, *, mask: Sequence[int] | None = None
    ) -> Draw:
        """Draw an arm for `vector` with the uniform `u`."""
        # The usual case: no mask, no shares. It skips the edits of the law.
        if mask is None and self._is_plain:
            return self._drawn(self._rule(*self._judged((vector,)))[0], u)
        law = self.law(vector, mask=mask)
        arm = bisect_right(cumulative(law), u)
        return Draw(arm, law[arm])

    def select_many(
        self, vectors: Sequence[Sequence[float] | bytes | None], us: Sequence[float]
    ) -> list[Draw]:
        """Draw an arm for each of `vectors` with the uniform beside it.

        The same as `select` for each up to rounding, and several times as fast: small arrays cost more to begin
        than to work out.
        """
        if not self._is_plain:
            return [self.select(vector, u) for vector, u in zip(vectors, us, strict=True)]
        some = self._at_once
        weights = [
            row
            for start in range(0, len(vectors), some)
            for row in self._rule(*self._judged(vectors[start : start + some]))
        ]
        return [self._drawn(row, u) for row, u in zip(weights, us, strict=True)]

    def law(
        self, vector: Sequence[float] | bytes | None, *, mask: Sequence[int] | None = None
    ) -> list[float]:
        """Return the probability of each arm for `vector`, by position."""
        means, variances = self._judged((vector,))
        allowed = self._exploration.allowed(mask)
        if mask is not None:
            left = set(allowed)
            # Masked before the rule and not after: P(best) among two arms is not that among ten, scaled.
            places = [i for i, k in enumerate(self._exploration.enabled) if k in left]
            means, variances = means[:, places], variances[:, places]
        weights = self._rule(means, variances)[0]
        if self._is_plain and mask is None:
            weights = [min((1 - self._floor) * weight + self._even, 1.0) for weight in weights]
            return _placed(weights, allowed, count=len(self.arms))
        return self._exploration.spread(_placed(weights, allowed, count=len(self.arms)), allowed)

    def best(self, vector: Sequence[float]) -> list[float]:
        """Return, by position, the probability that each enabled arm is best for `vector`."""
        # With the noise itself: `reshape` sharpens what is drawn, not what is known.
        weights = Matcher(self.model.noise)(*self._judged((vector,)))[0]
        return _placed(weights, self._exploration.enabled, count=len(self.arms))

    def _drawn(self, weights: Sequence[float], u: float) -> Draw:
        floor = self._floor
        # The floor is a mixture: the first part of the uniform draws evenly, and the rest, stretched to [0, 1),
        # by weight.
        if u < floor:
            place = int(u / floor * self._count)
        else:
            place = bisect_right(list(accumulate(weights)), (u - floor) / (1 - floor))
        # Rounding may leave the last running sum just below 1.
        place = min(place, self._count - 1)
        p = min((1 - floor) * weights[place] + self._even, 1.0)
        return Draw(self._exploration.enabled[place], p)

    def _judged(self, vectors: Sequence[Sequence[float] | bytes | None]) -> tuple[Floats, Floats]:
        """Return f64[n, K], mean and xᵀA⁻¹x of each enabled arm for each vector."""
        packed = [self._packed(vector) for vector in vectors]
        # Each vector is followed by the constant, if there is one.
        x = np.frombuffer(self._tail.join((*packed, b"")), _FLOAT).reshape(len(packed), -1)
        count = self._count
        rows = x.dot(self._stack)
        products = rows[:, :-count].reshape(len(packed), count, -1)
        variances: Floats = np.matmul(products, x[:, :, None])[:, :, 0]
        return rows[:, -count:], np.maximum(variances, _LEAST_UNCERTAINTY, out=variances)

    def _packed(self, vector: Sequence[float] | bytes | None) -> bytes:
        if vector is None:
            raise ContextInvalid(
                f"this experiment needs context.vector with {self._features} components"
            )
        if not isinstance(vector, bytes):
            return pack(vector, dimension=self._features)
        if len(vector) != 8 * self._features:
            raise ContextInvalid(
                f"context.vector has {len(vector) / 8:g} components; this experiment expects "
                f"{self._features}",
                found=len(vector) / 8,
                expected=self._features,
            )
        return vector


def _placed(weights: Sequence[float], positions: Sequence[int], *, count: int) -> list[float]:
    law = [0.0] * count
    for k, weight in zip(positions, weights, strict=True):
        law[k] = weight
    return law


class Linear(Summing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of linear policies. A family member adds its parameters and `rule`."""

    spec: ClassVar[Spec]
    ridge: Ridge = 1.0
    """λ, the weight of the prior."""

    def rule(self, problem: Problem, model: Model) -> Rule:
        """Return how this policy turns estimates into a law."""
        raise NotImplementedError

    def empty(self, problem: Problem) -> Sums:
        """Return the state before any event."""
        return empty(problem)

    def stats(self, problem: Problem, batch: Batch) -> Sums:
        """Return the sums of `batch` alone."""
        return stats(problem, batch)

    def prepare(
        self,
        problem: Problem,
        state: Sums,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> LinearLaw:
        """Return the model of this state, ready to choose."""
        exploration = Exploration(problem, allocation)
        model = Model(problem, state, ridge=self.ridge, previous=model_of(previous))
        return LinearLaw(problem, model, rule=self.rule(problem, model), exploration=exploration)

    def summaries(self, problem: Problem, state: Sums, allocation: Allocation) -> list[ArmSummary]:
        """Return what is known of each arm; share and P(best) are those of the average context."""
        return summaries(problem, state, self.prepare(problem, state, allocation))


def empty(problem: Problem) -> Sums:
    """Return the state of a linear policy before any event."""
    return exact.empty(len(problem.arms), problem.features + 2)


def stats(problem: Problem, batch: Batch) -> Sums:
    """Return the sums of `batch` alone for a linear policy."""
    found = columns.linear(problem, batch)
    return exact.sums_of(batch.arms, found, count=len(problem.arms))


def summaries(problem: Problem, sums: Sums, served: LinearLaw) -> list[ArmSummary]:
    """Return what is known of each arm, with the law of `served` at the average context."""
    tallies = Tallies(sums, one=problem.features)
    features = sums.floats()[:, : problem.features, problem.features].sum(axis=0)
    # From the same exact sums, so that summaries need no contexts of their own.
    average = (features / max(sums.events, 1)).tolist()
    best = served.best(average)
    return [
        tallies.summary(problem, k, share=share, p_best=best[k])
        for k, share in enumerate(served.law(average))
    ]


def model_of(served: Served | None) -> Model | None:
    """Return the linear model behind `served`, None when there is none."""
    return served.model if isinstance(served, LinearLaw) else None


class LinUCB(Linear, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All on the largest xᵀθ + alpha·sqrt(xᵀA⁻¹x), arms kept apart ("disjoint").

    alpha is in units of the declared reward range; without one, twice the residual standard deviation stands in.
    """

    spec: ClassVar[Spec] = Spec(
        name="LinUCB",
        aliases=("LinUCBPolicy",),
        context="required",
        law="argmax",
        paper="Li, Chu, Langford and Schapire 2010",
    )
    alpha: Annotated[float, Meta(ge=0, le=1e6)] = 1.0

    def rule(self, problem: Problem, model: Model) -> Rule:
        """Return the optimist's rule."""
        return Optimist(self.alpha * (1.0 if problem.is_ranged else 2 * model.noise))


class LinThompson(Linear, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each arm with the probability that it is best, when arm k's value is N(xᵀθ, nu²·xᵀA⁻¹x).

    Arms are kept apart, so their values are independent and the law is a one-dimensional integral, worked out
    per request (see `gaussians`). nu is learned: `reshape` times the residual standard deviation over all
    arms, or `nu` when given (in the units of [0, 1] rewards where a range is declared). Halving follows
    Chapelle and Li, who found that a posterior sharper than the true one loses less. `ridge` is the variance
    of a coin, 1/4, over a prior variance of 1 for each coefficient.

    Measured with these defaults and the exploration floor of 1 %, medians of cumulative regret: on digits (ten
    arms, 64 pixels, 8,985 rounds) about 600 learning from every event, about 1,100 in batches of 256 that are
    500 rounds late on average. There lambda = 1 loses 7 to 36 % more and an unsharpened posterior 12 to 17 %
    more. On three synthetic problems with noisy rewards the unsharpened posterior loses 15 to 50 % more, while
    lambda = 1 makes between 11 % less and 12 % more.
    """

    spec: ClassVar[Spec] = Spec(
        name="LinThompson",
        aliases=("LinTS", "LinTSPolicy"),
        context="required",
        law="quadrature",
        paper="Agrawal and Goyal 2013; Chapelle and Li 2011",
    )
    ridge: Ridge = 0.25
    reshape: Annotated[float, Meta(gt=0, le=100)] = 0.5
    nu: Annotated[float, Meta(gt=0, le=1e6)] | None = None

    def rule(self, problem: Problem, model: Model) -> Rule:
        """Return the matcher's rule."""
        return Matcher(self.reshape * model.noise if self.nu is None else self.nu)
