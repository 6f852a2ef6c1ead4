"""Policies that assume nothing about where rewards come from.

They sum importance-weighted rewards, dividing by the propensity *logged* with the decision: feedback may be
late and out of order and the estimate stays unbiased. Both laws are closed.

References: Auer, Cesa-Bianchi, Freund and Schapire, "The nonstochastic multiarmed bandit problem", SIAM
Journal on Computing 32 (2002); Kalai and Vempala, "Efficient algorithms for online decision problems",
Journal of Computer and System Sciences 71 (2005); Abernethy, Lee, Sinha and Tewari, "Online linear
optimization via smoothing", COLT 2014 (Gumbel noise makes the perturbed leader a softmax).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from .base import Problem, Spec
from .free import ContextFree, Judgement
from .tallies import Tallies


def softmax(logits: Sequence[float], enabled: Sequence[int]) -> list[float]:
    """Return exp(logits) normalised over `enabled`, 0 elsewhere; the largest logit is taken off first."""
    # Sums of reward over propensity reach millions, where exp overflows; taking off the largest changes no
    # ratio.
    top = max(logits[k] for k in enabled)
    weights = [0.0] * len(logits)
    for k in enabled:
        weights[k] = math.exp(logits[k] - top)
    total = math.fsum(weights)
    return [weight / total for weight in weights]


class EXP3(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """(1 - gamma) · softmax(gamma G / K) + gamma / K, with G the sums of reward over logged propensity.

    Without a given `gamma`, gamma follows the paper's choice for the events learned so far:
    min(1, sqrt(K ln K / ((e - 1) t))).
    """

    spec: ClassVar[Spec] = Spec(
        name="EXP3",
        aliases=("EXP3Policy",),
        reward_types=("binary", "bounded"),
        law="closed",
        paper="Auer, Cesa-Bianchi, Freund and Schapire 2002",
    )
    weighs: ClassVar[Literal["reward", "loss"] | None] = "reward"
    gamma: Annotated[float, Meta(gt=0, le=1)] | None = None

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the law over the enabled arms."""
        arms = len(enabled)
        gamma = self.gamma
        if gamma is None:
            events = max(tallies.events, 1)
            # Corollary 3.2 with g = t, as no reward exceeds 1. It is 1 before the first events, so these are
            # drawn evenly.
            gamma = min(1.0, math.sqrt(arms * math.log(arms) / ((math.e - 1) * events)))
        logits = [gamma / arms * gain for gain in tallies.weighted]
        # The paper's equation of p_i(t); the even part keeps importance weights below K / gamma.
        weights = [(1 - gamma) * p + gamma / arms for p in softmax(logits, enabled)]
        return Judgement(logits, weights)


class FPL(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Follow the perturbed leader: the least of eta L - Z, with L the sums of loss over logged propensity.

    The perturbations Z are Gumbel, so the law is softmax(-eta L) and needs no resampling. Without a given
    `eta`, eta is sqrt(ln K / (K t)) for the t events learned so far.
    """

    spec: ClassVar[Spec] = Spec(
        name="FPL",
        aliases=("FPLPolicy", "FollowThePerturbedLeader"),
        reward_types=("binary", "bounded"),
        law="closed",
        paper="Kalai and Vempala 2005; Abernethy, Lee, Sinha and Tewari 2014",
    )
    weighs: ClassVar[Literal["reward", "loss"] | None] = "loss"
    eta: Annotated[float, Meta(gt=0, le=1e6)] | None = None

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return the law over the enabled arms."""
        arms, eta = len(enabled), self.eta
        if eta is None:
            eta = math.sqrt(math.log(arms) / (arms * max(tallies.events, 1)))
        # Losses and not rewards: the estimate of an arm that is not drawn stays at 0, the best there is, so no
        # even part is needed to try it again. The largest of -eta L_k + Z_k with Gumbel Z is softmax(-eta L)
        # exactly.
        logits = [-eta * loss for loss in tallies.weighted]
        return Judgement(logits, softmax(logits, enabled))
