"""How long feedback takes, by arm: the weight of decisions that still wait for it.

Within an attribution window a success is known when it arrives, and a failure only when the window ends. A mean over
what has arrived is therefore a mean of successes. Vernade, Cappé and Perchet (2017, "Stochastic bandit models for
delayed conversions") count a decision of age a as F(a) exposures, where F is the distribution of the delay of those
that convert. A silent decision then counts as a failure by w = F(1 - p) / (1 - pF), the probability that it will stay
silent times the share of the exposures that are seen; what has arrived counts in full.

F is not known, and differs by arm. It is estimated by the hazards of the first feedback in bins of the decision's age
(Kaplan and Meier 1958): in each, how many of those that were silent until then got feedback. Decisions that are too
young to have passed a bin do not enter it. Beyond the oldest decision the rate of the last bins is assumed to go on until
the window ends.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.experiment import Experiment
from loopwright.core.reward import settle
from loopwright.policies import Batch, Policy, Problem, State

from .memory import PAGE, Memory, Remembered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FINEST_MS: Final = 100
"""Ages are told apart down to this, or to 2⁻¹⁰ of a short window: most feedback comes early in a long one."""
_SHARE: Final = 3
"""A cohort is at most a third as wide as its youngest decision is old."""
_RATIO: Final = 2.0**0.5
"""Each bin of ages ends at this multiple of the end of the one before: delays differ by orders of magnitude."""
_LATE: Final = 4
"""Last bins whose rate is assumed to go on: the oldest three quarters of what was seen, as few are that old."""
_PRIOR: Final = 1.0
"""Weight of a uniform delay beside the estimate, in conversions."""
_LEAST_SEEN: Final = 0.3
"""Share of an arm's feedback that its decisions must have had time for, before the arm is estimated at all."""
_NEARLY_ALL: Final = 0.8
"""Share of decisions with feedback from which on it is believed that every decision gets it."""

_WEIGHED: Final = 8
"""Decisions that wait are weighed anew each 2⁻⁸ of the window."""

Place = tuple[int, int]
"""Level and index of a cohort: its decisions were made in [index, index + 1) times 2^level narrowest widths."""


class Cohort:
    """Decisions of one stretch of time: how many, when their first feedback came, and which are silent.

    `decided` int64[K] by arm, `answered` int64[K, bins] by arm and age, `made_ms` the sum of the times they were made.
    `silent` is the state that a policy has after learning the default reward of each decision that waits, but for those
    that have begun or ended since it was last asked for; `waiting` int64[K] counts them all.
    """

    __slots__ = ("answered", "begun", "decided", "ended", "made_ms", "silent", "waiting")

    def __init__(self, arms: int, bins: int, silent: State) -> None:
        self.decided: Ints = np.zeros(arms, np.int64)
        self.answered: Ints = np.zeros((arms, bins), np.int64)
        # A Python integer: in an int64 the times of five million decisions, in milliseconds since 1970,
        # would overflow.
        self.made_ms = 0
        self.silent = silent
        self.waiting: Ints = np.zeros(arms, np.int64)
        self.begun: list[Remembered] = []
        self.ended: list[Remembered] = []

    def take(self, other: Cohort) -> None:
        """Add the counts of `other`."""
        self.decided += other.decided
        self.answered += other.answered
        self.made_ms += other.made_ms
        self.waiting += other.waiting
        self.begun += other.begun
        self.ended += other.ended


class Delays:
    """The delays of one experiment with an attribution window, and its silent decisions.

    It is a function of the log up to the bounds of cohorts, which depend on when it was asked; the sums of silent
    decisions are exact whatever the bounds are. Times are in milliseconds since the epoch.
    """

    def __init__(self, policy: Policy, problem: Problem, *, window_ms: int, default: float) -> None:
        self._policy = policy
        self._problem = problem
        self.window_ms = window_ms
        self.default = default
        self._narrowest_ms = max(min(window_ms >> 10, _FINEST_MS), 1)
        widths = math.log2(max(window_ms / self._narrowest_ms, 2.0))
        self._levels = math.ceil(widths)
        bins = math.ceil(widths / math.log2(_RATIO)) + 1
        self._edges = np.array([window_ms * _RATIO**power for power in range(1 - bins, 1)])
        self._cohorts: dict[Place, Cohort] = {}
        self._past = Cohort(len(problem.arms), bins, None)
        """Decisions whose window is over."""

    def grow(self, problem: Problem) -> None:
        """Make room for every arm of `problem`."""
        more = len(problem.arms) - len(self._problem.arms)
        self._problem = problem
        for cohort in (self._past, *self._cohorts.values()):
            cohort.decided = np.pad(cohort.decided, (0, more))
            cohort.answered = np.pad(cohort.answered, ((0, more), (0, 0)))
            cohort.waiting = np.pad(cohort.waiting, (0, more))
            if cohort.silent is not None:
                cohort.silent = self._policy.grow(problem, cohort.silent)

    @property
    def is_waiting(self) -> bool:
        """Whether any decision waits for feedback."""
        return any(cohort.waiting.any() for cohort in self._cohorts.values())

    def pending(self) -> list[int]:
        """Return how many decisions of each arm wait for feedback."""
        found = np.zeros(len(self._problem.arms), np.int64)
        for cohort in self._cohorts.values():
            found += cohort.waiting
        return [int(n) for n in found]

    def weigh_otherwise(self, then_ms: float, now_ms: float) -> bool:
        """Whether decisions have another weight than at `then_ms`."""
        return now_ms - then_ms >= self.window_ms >> _WEIGHED and bool(self._cohorts)

    # What happens

    def begin(self, decisions: list[Remembered], *, is_new: bool = True) -> None:
        """Take in decisions that begin to wait; those that were counted before are not `is_new`."""
        for row in decisions:
            cohort = self._cohort(row.decided_at_ms)
            if is_new:
                cohort.decided[row.arm] += 1
                cohort.made_ms += row.decided_at_ms
            cohort.waiting[row.arm] += 1
            cohort.begun.append(row)
            if len(cohort.begun) == PAGE:
                self._settle(cohort)

    def end(self, decisions: list[Remembered]) -> None:
        """Take out decisions that wait no longer: what they earned is in the learned state now."""
        for row in decisions:
            cohort = self._cohort(row.decided_at_ms)
            cohort.waiting[row.arm] -= 1
            cohort.ended.append(row)

    def answer(self, answered: list[tuple[Remembered, int]]) -> None:
        """Count the first feedback of decisions, each with the time of the feedback."""
        for row, at_ms in answered:
            age = min(max(at_ms - row.decided_at_ms, 0), self.window_ms)
            # The end of a bin belongs to it.
            bin = min(int(np.searchsorted(self._edges, age)), len(self._edges) - 1)
            self._cohort(row.decided_at_ms).answered[row.arm, bin] += 1

    def leave_out(self, decisions: list[Remembered]) -> None:
        """Forget decisions that have got feedback which does not count."""
        for row in decisions:
            cohort = self._cohort(row.decided_at_ms)
            cohort.decided[row.arm] -= 1
            cohort.made_ms -= row.decided_at_ms

    # What follows

    def estimate(self, state: State, now_ms: int) -> State:
        """Return `state` with the silent decisions in it, each by its weight at `now_ms`.

        An arm is left out when too little of its feedback can have come: it has no decision whose window is over, and
        its decisions have had time for less than three tenths of it.
        """
        self._age(now_ms)
        if not self._cohorts:
            return state
        seen, converts = self._fit(now_ms)
        told = self._is_told(state, seen, converts).astype(np.float64)
        converts = np.minimum(converts, 1.0)
        missed = 1 - converts * seen
        weights = np.divide(
            seen * (1 - converts), missed, out=np.zeros_like(seen), where=missed > 0
        )
        silent = [
            (self._settle(cohort), told * weight)
            for cohort, weight in zip(self._cohorts.values(), weights, strict=True)
            if cohort.waiting.any()
        ]
        return self._policy.weighted(self._problem, [(state, told), *silent])

    def _is_told(self, state: State, seen: Floats, converts: Floats) -> NDArray[np.bool_]:
        decided = np.array([cohort.decided for cohort in self._cohorts.values()])
        answered = sum(cohort.answered.sum(axis=1) for cohort in self._cohorts.values())
        made = decided.sum(axis=0)
        share = np.divide(
            (decided * seen).sum(axis=0), made, out=np.ones(len(made)), where=made > 0
        )
        # More conversions than decisions: the rate of the first moments does not go on, but how soon it ends is unknown.
        is_sound = (converts < 1) | (answered >= _NEARLY_ALL * made)
        # What was learned and is not of a window that is still open.
        settled = np.array(self._policy.counts(state)) - answered
        found: NDArray[np.bool_] = (settled > 0) | (is_sound & (share >= _LEAST_SEEN)) | (made == 0)
        return found

    def _fit(self, now_ms: int) -> tuple[Floats, Floats]:
        """Return F at the age of each cohort, f64[cohorts, K], and the share of decisions that convert, f64[K], not clipped."""
        ages, youngest = self._ages(now_ms)
        cohorts = list(self._cohorts.values())
        decided = np.array([cohort.decided for cohort in cohorts], np.float64)
        answered = np.array([cohort.answered for cohort in cohorts], np.float64)
        # The risk set: a decision too young to have lived through a bin would count in it as silent.
        has_passed = (self._edges <= youngest[:, None]).astype(np.float64)
        arrivals = np.einsum("ckb,cb->kb", answered, has_passed) + self._past.answered
        at_risk = np.einsum("ckb,cb->kb", _silent_before(decided, answered), has_passed)
        at_risk += _silent_before(self._past.decided, self._past.answered)
        converted = _converted(arrivals, at_risk, np.diff(self._edges, prepend=0.0))
        # Linear between the ends of bins.
        curves = np.array([np.interp(ages, self._edges, row, left=0.0) for row in converted]).T
        total = converted[:, -1]
        uniform = np.minimum(ages / self.window_ms, 1.0)[:, None]
        n = arrivals.sum(axis=1)
        fitted = np.divide(curves, total, out=np.zeros_like(curves), where=total > 0)
        n = np.where(total > 0, n, 0.0)
        seen = (n * fitted + _PRIOR * uniform) / (n + _PRIOR)
        exposures = (decided * seen).sum(axis=0) + self._past.decided
        known = answered.sum(axis=(0, 2)) + self._past.answered.sum(axis=1)
        converts = np.divide(known, exposures, out=np.zeros_like(exposures), where=exposures > 0)
        return seen, converts

    def _ages(self, now_ms: int) -> tuple[Floats, Floats]:
        """Return the mean age of each cohort's decisions, and the age of its youngest, in milliseconds."""
        widths = np.array([self._narrowest_ms << level for level, _ in self._cohorts])
        starts = np.array([index for _, index in self._cohorts]) * widths
        youngest = np.maximum(now_ms - starts - widths, 0)
        made = [
            cohort.made_ms / n if (n := int(cohort.decided.sum())) else start
            for cohort, start in zip(self._cohorts.values(), starts.tolist(), strict=True)
        ]
        return np.maximum(now_ms - np.array(made), 0.0), youngest.astype(np.float64)

    def _age(self, now_ms: int) -> None:
        """Merge cohorts as they grow old, so that there are few; what is over goes to the past."""
        for place in sorted(self._cohorts):
            level, index = place
            youngest_ms = now_ms - ((index + 1) * self._narrowest_ms << level)
            cohort = self._cohorts[place]
            if youngest_ms >= self.window_ms and not cohort.waiting.any():
                self._past.take(self._cohorts.pop(place))
                continue
            while level < self._levels and self._is_old(level + 1, index >> 1, now_ms):
                level, index = level + 1, index >> 1
            if level == place[0]:
                continue
            del self._cohorts[place]
            wider = self._cohorts.get((level, index))
            if wider is None:
                self._cohorts[level, index] = cohort
                continue
            wider.take(cohort)
            if any(self._policy.counts(cohort.silent)):
                one = np.ones(len(cohort.decided))
                wider.silent = self._policy.weighted(
                    self._problem, [(wider.silent, one), (cohort.silent, one)]
                )

    # Cohorts

    def _is_old(self, level: int, index: int, now_ms: int) -> bool:
        """Whether a stretch is old enough to be one cohort.

        By its own end and not by that of a part: all parts of it are merged at once then, and no decision is looked
        for in another cohort than it was put into.
        """
        width_ms = self._narrowest_ms << level
        return now_ms - (index + 1) * width_ms >= _SHARE * width_ms

    def _cohort(self, decided_at_ms: int) -> Cohort:
        index = decided_at_ms // self._narrowest_ms
        for level in range(self._levels + 1):
            found = self._cohorts.get((level, index >> level))
            if found is not None:
                return found
        made = Cohort(len(self._problem.arms), len(self._edges), self._policy.empty(self._problem))
        self._cohorts[0, index] = made
        return made

    def _settle(self, cohort: Cohort) -> State:
        """Return the state of a cohort's silent decisions, with what has begun and ended in it.

        Late, because cohorts are merged until then: learning one by one would cost a hundred times as much.
        """
        if cohort.begun:
            batch = self._batch(cohort.begun)
            cohort.silent = self._policy.learn(self._problem, cohort.silent, batch)
            cohort.begun = []
        if cohort.ended:
            batch = self._batch(cohort.ended)
            cohort.silent = self._policy.unlearn(self._problem, cohort.silent, batch)
            cohort.ended = []
        return cohort.silent

    def _batch(self, rows: list[Remembered]) -> Batch:
        vectors = [row.vector for row in rows if row.vector is not None]
        return Batch.of(
            [row.arm for row in rows],
            [self.default] * len(rows),
            propensities=[row.propensity for row in rows],
            vectors=vectors or None,
        )

    # Kept with a checkpoint: the counts. Silent decisions are remembered one by one anyway.

    def dump(self) -> bytes:
        """Return the counts as bytes."""
        cohorts = [
            (*place, *_packed(cohort))
            for place, cohort in sorted(self._cohorts.items())
            if cohort.decided.any() or cohort.answered.any()
        ]
        return _encode([self.window_ms, _packed(self._past), cohorts])

    def load(self, dumped: bytes) -> bool:
        """Take over counts that `dump` wrote; False when they are of another window."""
        window_ms, past, cohorts = _decode(dumped)
        if window_ms != self.window_ms:
            return False
        _unpack(self._past, past)
        for level, index, *counts in cohorts:
            made = Cohort(
                len(self._problem.arms), len(self._edges), self._policy.empty(self._problem)
            )
            _unpack(made, counts)
            self._cohorts[level, index] = made
        return True


def delays_of(
    experiment: Experiment, policy: Policy, memory: Memory, counted: bytes
) -> Delays | None:
    """Return the delays of an experiment, None without a window: counts as `Delays.dump` wrote them, decisions from memory."""
    spec = experiment.reward
    if spec.window_s is None or spec.default is None:
        return None
    window_ms, default = round(spec.window_s * 1000), settle(spec, spec.default)
    delays = Delays(policy, Problem.of(experiment), window_ms=window_ms, default=default)
    is_counted = bool(counted) and delays.load(counted)
    for page in memory.silent():
        delays.begin(page, is_new=not is_counted)
    return delays


def _silent_before(decided: NDArray[Any], answered: NDArray[Any]) -> Floats:
    """Return how many decisions had no feedback when they came to each bin."""
    before: Floats = decided[..., None] - (np.cumsum(answered, axis=-1) - answered)
    return before


def _converted(arrivals: Floats, at_risk: Floats, widths: Floats) -> Floats:
    """Return the share of decisions that have converted by the end of each bin, f64[K, bins]."""
    hazards = np.divide(arrivals, at_risk, out=np.zeros_like(arrivals), where=at_risk > 0)
    observed = (at_risk > 0).sum(axis=1)
    exposed = at_risk * widths
    for arm, last in enumerate(observed):
        if 0 < last < len(widths):
            late = slice(max(last - _LATE, 0), last)
            # A constant hazard, that is an exponential tail: the only one that a single figure describes.
            rate = arrivals[arm, late].sum() / exposed[arm, late].sum()
            hazards[arm, last:] = 1 - np.exp(-rate * widths[last:])
    converted: Floats = 1 - np.cumprod(1 - np.minimum(hazards, 1.0), axis=1)
    return converted


def _packed(cohort: Cohort) -> list[Any]:
    arms, bins = np.nonzero(cohort.answered)
    answered = [arms.tolist(), bins.tolist(), cohort.answered[arms, bins].tolist()]
    return [cohort.decided.tolist(), answered, cohort.made_ms]


def _unpack(cohort: Cohort, packed: Any) -> None:
    decided, (arms, bins, counts), cohort.made_ms = packed
    # There may be more arms than in the checkpoint, and those are always the last.
    cohort.decided[: len(decided)] = decided
    cohort.answered[arms, bins] = counts


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode
