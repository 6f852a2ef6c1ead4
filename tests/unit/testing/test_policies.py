"""The checks of policies catch a policy that breaks a promise, each with its sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loopwright.policies import (
    Allocation,
    ArmSummary,
    BetaThompson,
    Policy,
    Problem,
    Served,
    Sums,
    make,
)
from loopwright.policies.base import Draw
from loopwright.testing import check_policy


class Around(BetaThompson, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sound policy, for subclasses to break one promise of."""


class Loaded:
    """Serves a law, and draws from another."""

    def __init__(self, served: Served) -> None:
        self.sound = served
        self.arms, self.enabled = served.arms, served.enabled

    def select(
        self, vector: Sequence[float] | bytes | None, u: float, *, mask: Sequence[int] | None = None
    ) -> Draw:
        return self.sound.select(vector, u * u, mask=mask)

    def law(
        self, vector: Sequence[float] | bytes | None, *, mask: Sequence[int] | None = None
    ) -> list[float]:
        return self.sound.law(vector, mask=mask)


class Crooked(Around, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Draws more often from the first arms than it says."""

    def prepare(
        self,
        problem: Problem,
        state: Sums,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> Served:
        return Loaded(super().prepare(problem, state, allocation))


class Stubborn(Around, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serves disabled arms too."""

    def prepare(
        self,
        problem: Problem,
        state: Sums,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> Served:
        return super().prepare(problem, state, Allocation.even(len(problem.arms)))


class Boastful(Around, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Is sure of the first arm in every summary."""

    def summaries(self, problem: Problem, state: Sums, allocation: Allocation) -> list[ArmSummary]:
        return super().summaries(problem, state, allocation)[:1]


@pytest.mark.parametrize("broken", [Crooked, Stubborn, Boastful])
def test_a_policy_that_breaks_a_promise_is_caught(broken: type[Around]) -> None:
    with pytest.raises(AssertionError):
        check_policy(broken, learns=False, draws=1000)


def test_a_sound_policy_passes_and_one_that_does_not_learn_passes_when_told_so() -> None:
    def uniform() -> Policy:
        return make("Uniform", {})

    check_policy(uniform, learns=False, draws=500)
    with pytest.raises(AssertionError, match="not so"):
        check_policy(uniform, draws=500)
