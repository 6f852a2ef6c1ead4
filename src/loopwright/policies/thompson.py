"""Thompson sampling: choose each arm with the probability that it is best, given what is known.

References: Thompson, "On the likelihood that one unknown probability exceeds another in view of the evidence
of two samples", Biometrika 25 (1933); Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS
2011; Agrawal and Goyal, "Analysis of Thompson sampling for the multi-armed bandit problem", COLT 2012; Honda
and Takemura, "Optimality of Thompson sampling for Gaussian bandits depends on priors", AISTATS 2014.

The usual form draws one value per arm and takes the largest. Here the probability of that event is worked out
once per snapshot by quadrature and the arm is drawn from it: the same behaviour, but the probability of every
draw is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from . import thompson_law
from .base import Problem, Spec
from .free import ContextFree, Judgement
from .tallies import Tallies

Positive = Annotated[float, Meta(gt=0, le=1e6)]


class BetaThompson(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thompson sampling with a Beta posterior, for rewards in a declared range.

    Binary rewards give the exact posterior. A bounded reward r counts as r of a success and 1 - r of a
    failure: never thresholded, and wider than needed, so it errs on the side of exploring.
    """

    spec: ClassVar[Spec] = Spec(
        name="BetaThompson",
        aliases=("BetaTS", "BetaTSPolicy", "ThompsonSampling"),
        reward_types=("binary", "bounded"),
        law="quadrature",
        paper="Thompson 1933; Agrawal and Goyal 2012",
    )
    prior_wins: Positive = 1.0
    prior_losses: Positive = 1.0

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return P(best) of each arm."""
        prior = (self.prior_wins, self.prior_losses)
        weights = thompson_law.best_beta(tallies, enabled=enabled, prior=prior)
        return Judgement(tallies.means, weights)


class GaussianThompson(ContextFree, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thompson sampling with a normal-inverse-gamma posterior: it learns each arm's variance.

    The prior is worth `prior_strength` observations of the pooled mean and variance, so rewards of any unit
    are handled alike. Until there is any reward, all arms are equally likely.
    """

    spec: ClassVar[Spec] = Spec(
        name="GaussianThompson",
        aliases=("GaussianTS", "GaussianTSPolicy", "NormalThompson"),
        law="quadrature",
        paper="Honda and Takemura 2014",
    )
    # Honda and Takemura prove their bound for the uniform prior on mean and variance, and that Jeffreys's and the
    # reference prior miss it. This prior is proper and none of them, so the bound is not claimed for it.
    prior_strength: Positive = 1.0

    def judge(self, problem: Problem, tallies: Tallies, *, enabled: Sequence[int]) -> Judgement:
        """Return P(best) of each arm."""
        weights = thompson_law.best_normal(tallies, enabled=enabled, strength=self.prior_strength)
        return Judgement(tallies.means, weights)
