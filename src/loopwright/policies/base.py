"""The nouns of learning and what every policy can do.

A policy is a value: its parameters. What it has learned is another value, its state, into which only the policy
itself looks. For most it is the exact sums of distinct events (see `summing`); one that discounts or trains a network
has another. `prepare` turns a state into something that serves; nothing here holds a clock, a random generator or a
lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid, LoopError
from loopwright.core.experiment import Experiment
from loopwright.core.reward import BOUND, RewardType

from .exact import Sums, widen

Floats = NDArray[np.float64]

State = Any
"""What a policy has learned: opaque to all code but the policy's own, and never changed in place."""

LEAST_PROPENSITY: Final = 2.0**-20
"""No arm is ever drawn with a smaller probability than this: importance weights stay on the exact grid."""


class Diverged(LoopError):
    """Preparing a state gave numbers that are not finite; the last good snapshot keeps serving."""

    code = "diverged"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an experiment that a policy depends on.

    `arms` lists every arm there ever was; an arm's place in it is its position, and its row in every array.
    `dimension` counts the columns that are learned, the constant included: without a context it is 1.
    """

    arms: tuple[str, ...]
    dimension: int = 1
    low: float = 0.0
    high: float = 1.0
    reward_type: RewardType = "binary"
    intercept: bool = True
    """Whether the policy appends a constant 1 to each context vector, as the last of `dimension` columns."""

    @classmethod
    def of(cls, experiment: Experiment) -> Problem:
        """Return the problem that `experiment` poses."""
        low, high = experiment.reward.scaled_range
        context = experiment.context
        return cls(
            arms=tuple(arm.id for arm in experiment.arms),
            # Without a context the constant alone is learned, and the estimate is the arm's mean.
            dimension=1 if context is None else context.dimension + context.intercept,
            low=low,
            high=high,
            reward_type=experiment.reward.type,
            intercept=context is None or context.intercept,
        )

    @property
    def features(self) -> int:
        """Components of a context vector as it arrives, without the constant; 0 without a context."""
        return self.dimension - self.intercept

    @property
    def is_ranged(self) -> bool:
        """Whether rewards have a declared range; an undeclared continuous one may lie anywhere in ±2²⁰."""
        # A continuous reward without a declared range has the range of what is accepted at all, which is twice
        # the bound.
        return self.high - self.low < 2 * BOUND

    @property
    def width(self) -> float:
        """Reward units per unit of what the sums hold: a declared range is learned as [0, 1]."""
        return self.high - self.low if self.is_ranged else 1.0

    @property
    def origin(self) -> float:
        """The reward that the sums hold as 0."""
        return self.low if self.is_ranged else 0.0


# No generated comparison: arrays compare by element, and `==` of two batches would raise.
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Distinct events to learn from, as columns.

    `arms` int64[n] are positions, `rewards` f64[n] in the problem's range, `propensities` f64[n] as logged,
    `vectors` f64[n, features] as they scored (without the constant), or None without a context.
    """

    arms: NDArray[np.int64]
    rewards: Floats
    propensities: Floats
    vectors: Floats | None = None

    @classmethod
    def of(
        cls,
        arms: Sequence[int],
        rewards: Sequence[float],
        *,
        propensities: Sequence[float],
        vectors: Sequence[bytes] | None = None,
    ) -> Batch:
        """Return a batch from plain sequences; `vectors` are packed little-endian float64 of equal length."""
        packed = None
        if vectors is not None:
            if len({len(vector) for vector in vectors}) > 1:
                raise Invalid("the batch's context vectors differ in length")
            # One buffer for the batch, not an array per vector.
            flat = np.frombuffer(b"".join(vectors), dtype="<f8")
            packed = flat.reshape(len(vectors), len(vectors[0]) // 8 if vectors else 0)
        return cls(
            np.array(arms, dtype=np.int64),
            np.array(rewards, dtype=np.float64),
            np.array(propensities, dtype=np.float64),
            packed,
        )

    def __len__(self) -> int:
        return len(self.arms)


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """The shares of traffic that each arm may get, whatever the policy prefers. One entry per arm."""

    enabled: tuple[bool, ...]
    min_share: tuple[float, ...] | None = None
    max_share: tuple[float, ...] | None = None
    explore_floor: float = 0.01
    """Total share spread evenly over the enabled arms."""

    @classmethod
    def of(cls, experiment: Experiment) -> Allocation:
        """Return the allocation that `experiment` declares."""
        arms = experiment.arms
        return cls(
            enabled=tuple(arm.state == "enabled" for arm in arms),
            min_share=tuple(arm.min_share for arm in arms),
            max_share=tuple(arm.max_share for arm in arms),
            explore_floor=experiment.explore_floor,
        )

    @classmethod
    def even(cls, arms: int, explore_floor: float = 0.01) -> Allocation:
        """Return an allocation with all `arms` enabled and no shares."""
        return cls(enabled=(True,) * arms, explore_floor=explore_floor)


class Draw(msgspec.Struct, frozen=True, gc=False):
    """The position of the arm drawn, and the exact probability it was drawn with."""

    arm: int
    propensity: float


class ArmSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one arm, in the reward's own units.

    `low` and `high` bound the mean reward with 95 % confidence; None while there is no data. With a context,
    `share` and `p_best` are those of the average context seen so far.
    """

    arm: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    share: float
    p_best: float


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The names of a policy, and the experiments that it fits."""

    name: str
    aliases: tuple[str, ...] = ()
    reward_types: tuple[RewardType, ...] = ("binary", "bounded", "continuous")
    context: Literal["ignored", "required", "optional"] = "ignored"
    law: Literal["closed", "quadrature", "argmax"]
    """How the probabilities come about: in closed form, by quadrature, or all on the best arm."""
    paper: str


class Served(Protocol):
    """A policy ready to choose: immutable, so any number of threads may read it."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of all arms, by position."""
        ...

    @property
    def enabled(self) -> tuple[int, ...]:
        """Positions that can be drawn."""
        ...

    def select(
        self, vector: Sequence[float] | bytes | None, u: float, *, mask: Sequence[int] | None = None
    ) -> Draw:
        """Draw an arm with the uniform `u` in [0, 1).

        `vector` is the context as it arrived, packed or not; `mask` lists the positions allowed this time.
        Raises `MaskEmpty` when the mask leaves no enabled arm, `ContextInvalid` when the vector does not fit.
        """
        ...

    def law(
        self, vector: Sequence[float] | bytes | None, *, mask: Sequence[int] | None = None
    ) -> list[float]:
        """Return the probability of each arm, by position: exactly what `select` draws from."""
        ...


@runtime_checkable
class ServedTogether(Served, Protocol):
    """A policy that draws for many contexts in one computation, at less cost than one by one."""

    def select_many(
        self, vectors: Sequence[Sequence[float] | bytes | None], us: Sequence[float]
    ) -> list[Draw]:
        """Draw an arm for each of `vectors` with the uniform beside it, as `select` would up to rounding."""
        ...


class Policy(Protocol):
    """A learner that maps a context to a distribution over arms."""

    spec: ClassVar[Spec]

    def empty(self, problem: Problem) -> State:
        """Return the state before any event."""
        ...

    def learn(self, problem: Problem, state: State, batch: Batch) -> State:
        """Return `state` after the events of `batch`; raises `Invalid` when the batch does not fit the problem.

        It depends on `state` and `batch` alone, and leaves both as they are.
        """
        ...

    def unlearn(self, problem: Problem, state: State, batch: Batch) -> State:
        """Return `state` without the events of `batch`, which it has learned: a reward was corrected or erased."""
        ...

    def weighted(self, problem: Problem, parts: Sequence[tuple[State, Floats]]) -> State:
        """Return the state of the events of several states, those of each arm counted by a weight in [0, 1].

        Each of `parts` is a state and its weights, f64[arms]. Weights of 1 give what learning all events gives. So
        decisions that still wait for feedback count in part.
        """
        ...

    def grow(self, problem: Problem, state: State) -> State:
        """Return the same state with room for every arm of `problem`; raises `Invalid` if arms went missing."""
        ...

    def counts(self, state: State) -> list[int]:
        """Return how many events of each arm were learned, by position."""
        ...

    def dump(self, state: State) -> bytes:
        """Return `state` as bytes; equal states give equal bytes."""
        ...

    def load(self, data: bytes) -> State:
        """Return the state that `dump` wrote, bit for bit; raises `StateCorrupt` when it is damaged."""
        ...

    def prepare(
        self,
        problem: Problem,
        state: State,
        allocation: Allocation,
        *,
        previous: Served | None = None,
    ) -> Served:
        """Return what serves this state.

        `previous`, an earlier result for the same experiment, may save work; it never changes the result.
        Raises `NoArms` without an enabled arm, `Invalid` for shares that cannot be met, `Diverged` when the
        state gives numbers that are not finite.
        """
        ...

    def summaries(self, problem: Problem, state: State, allocation: Allocation) -> list[ArmSummary]:
        """Return what is known of each arm, by position."""
        ...


def grow(sums: Sums, problem: Problem) -> Sums:
    """Return the same sums with room for every arm of `problem`; raises `Invalid` if arms went missing."""
    return widen(sums, len(problem.arms))


def params_of(policy: object) -> dict[str, Any]:
    """Return a policy's parameters as plain data."""
    found: dict[str, Any] = msgspec.to_builtins(policy)
    return found
