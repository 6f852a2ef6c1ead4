"""Optimism in the face of uncertainty: choose the arm that could still be the best.

Every index depends on the state alone, so it is worked out once per snapshot. Arms never tried come first;
ties are broken evenly by the draw. With [0, 1] rewards the formulas are the papers'. For continuous rewards
without a declared range, twice the pooled standard deviation takes the place of the range: a variable on
[0, 1] is 1/2-subgaussian, a Gaussian one is subgaussian with its own standard deviation.

References: Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem", Machine
Learning 47 (2002), section 4; Garivier and Cappé, "The KL-UCB algorithm for bounded stochastic bandits and
beyond", COLT 2011; Audibert and Bubeck, "Minimax policies for adversarial and stochastic bandits", COLT 2009;
Degenne and Perchet, "Anytime optimal algorithms in stochastic multi-armed bandits", ICML 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from .base import Problem, Spec
from .free import ContextFree, Judgement
from .tallies import Tallies

_NEWTON_STEPS: Final = 50
_KL_PRECISION: Final = 1e-12


def _judged(
    tallies: Tallies, index: Callable[[int], float], *, enabled: Sequence[int]
) -> Judgement:
    """Return the index of each enabled arm as its score, infinite for those never tried."""
    # An arm that is not enabled never wins, whatever its entry.
    scores = [-math.inf] * len(tallies.counts)
    for k in enabled:
        scores[k] = index(k) if tallies.counts[k] else math.inf
    return Judgement(scores)


def _range(problem: Problem, tallies: Tallies) -> float:
    """Return the width of the rewards that the bonus assumes, in the units of the sums."""
    if problem.is_ranged or tallies.events == 0:
        return 1.0
    # Within arms: the spread between arms is what is to be learned, not noise.
    within = math.fsum(n * v for n, v in zip(tallies.counts, tallies.variances, strict=True))
    return 2 * math.sqrt(within / tallies.events)


class UCB1Tuned(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """mean + sqrt(ln t / n · min(1/4, V)), V the variance plus its own bonus sqrt(2 ln t / n)."""

    spec: ClassVar[Spec] = Spec(
        name="UCB1Tuned",
        aliases=("UCB1TunedPolicy", "UCBTuned"),
        law="argmax",
        paper="Auer, Cesa-Bianchi and Fischer 2002",
    )

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the index of each arm."""
        log_t = math.log(max(tallies.events, 1))
        square = _range(problem, tallies) ** 2

        def index(k: int) -> float:
            n = tallies.counts[k]
            # Section 4 of the paper: V_k, with the bonus in units of the squared range.
            bound = tallies.variances[k] + square * math.sqrt(2 * log_t / n)
            return tallies.means[k] + math.sqrt(log_t / n * min(square / 4, bound))

        return _judged(tallies, index, enabled=enabled)


class KLUCB(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest q with n · kl(mean, q) ≤ ln t + c · ln ln t, kl the divergence of coins.

    The divergence of coins bounds that of any variable on [0, 1], so bounded rewards are served too.
    """

    spec: ClassVar[Spec] = Spec(
        name="KLUCB",
        aliases=("KLUCBPolicy",),
        reward_types=("binary", "bounded"),
        law="argmax",
        paper="Garivier and Cappé 2011",
    )
    c: Annotated[float, Meta(ge=0, le=10)] = 0.0

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the index of each arm."""
        log_t = math.log(max(tallies.events, 1))
        # The paper proves its bound with c = 3 and recommends c = 0 in practice.
        budget = log_t + self.c * math.log(max(log_t, 1.0))
        return _judged(
            tallies,
            lambda k: kl_upper(tallies.means[k], budget / tallies.counts[k]),
            enabled=enabled,
        )


def kl_upper(mean: float, budget: float) -> float:
    """Return the largest q in [mean, 1] with kl(mean, q) ≤ budget.

    Newton's method on t = ln(1 - q), where the excess kl - budget is convex and decreasing: from a bound where
    it is not negative (Pinsker's, or dropping the other term) the steps approach the root from one side.
    """
    if mean >= 1:
        return 1.0
    if budget <= 0:
        return mean
    if mean <= 0:
        # kl(0, q) is -ln(1 - q), so the root has a closed form; expm1 keeps its digits for a small budget.
        return -math.expm1(-budget)
    rest = 1 - mean
    negentropy = mean * math.log(mean) + rest * math.log(rest)
    t = (negentropy - budget) / rest
    # kl(m, q) >= 2 (q - m)^2, so q is at most m + sqrt(budget / 2).
    by_pinsker = rest - math.sqrt(budget / 2)
    if by_pinsker > 0:
        t = max(t, math.log(by_pinsker))
    for _ in range(_NEWTON_STEPS):
        s = math.exp(t)
        excess = negentropy - mean * math.log1p(-s) - rest * t - budget
        slope = mean * s / (1 - s) - rest
        # A slope that is not negative is rounding at the end of the range: a step would leave it.
        if slope >= 0 or abs(excess) <= _KL_PRECISION * budget:
            break
        t -= excess / slope
    return max(mean, -math.expm1(t))


class MOSS(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """mean + sqrt(max(0, ln(T / (K n))) / n) for a horizon of T events; beyond it, T grows with them."""

    spec: ClassVar[Spec] = Spec(
        name="MOSS", aliases=("MOSSPolicy",), law="argmax", paper="Audibert and Bubeck 2009"
    )
    horizon: Annotated[int, Meta(ge=1, le=10**12)] = 100_000

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the index of each arm."""
        width = _range(problem, tallies)
        # K counts the enabled arms: those that are off take no part in the regret.
        per_arm = max(self.horizon, tallies.events) / len(enabled)

        def index(k: int) -> float:
            n = tallies.counts[k]
            return tallies.means[k] + width * math.sqrt(max(0.0, math.log(per_arm / n)) / n)

        return _judged(tallies, index, enabled=enabled)


class MOSSAnytime(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """mean + sqrt((1 + alpha)/2 · max(0, ln(t / (K n))) / n): MOSS without a horizon."""

    spec: ClassVar[Spec] = Spec(
        name="MOSSAnytime",
        aliases=("MOSSAnyTimePolicy",),
        law="argmax",
        paper="Degenne and Perchet 2016",
    )
    alpha: Annotated[float, Meta(gt=0, le=10)] = 1.35

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the index of each arm."""
        width = _range(problem, tallies)
        per_arm = tallies.events / len(enabled)

        def index(k: int) -> float:
            n = tallies.counts[k]
            # Degenne and Perchet recommend alpha = 1.35, the default.
            bonus = (1 + self.alpha) / 2 * max(0.0, math.log(per_arm / n)) / n
            return tallies.means[k] + width * math.sqrt(bonus)

        return _judged(tallies, index, enabled=enabled)
