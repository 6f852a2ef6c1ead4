"""The checks that every policy passes, built-in or from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from loopwright.core.errors import Invalid, MaskEmpty, NoArms
from loopwright.policies import (
    LEAST_PROPENSITY,
    Allocation,
    Batch,
    Policy,
    Problem,
    Served,
    ServedTogether,
    State,
    Sums,
    merge,
)

_ARMS: Final = ("a", "b", "c", "d")
_EVENTS: Final = 300
_EXACT: Final = 1e-9
# A normal exceeds 6 standard errors, to either side, once in 5 * 10^8 draws. A run compares some hundreds of
# times, hence the promise of one failure in 10^6 runs.
_SIGMAS: Final = 6.0


def check_policy(
    make_policy: Callable[[], Policy], *, learns: bool = True, draws: int = 4000, seed: int = 7
) -> None:
    """Raise `AssertionError`, with a sentence, when a policy breaks a promise that all policies make.

    For each kind of problem that its spec declares: the law adds up to 1; floors, minimum and maximum shares,
    disabled arms and masks hold; `select` draws from exactly the law it reports, the same arm for the same
    uniform; permuted, deduplicated, split and merged batches give the same bits; `revert` undoes `merge`;
    `dump` and `load` are lossless; nothing changes a state in place; new arms join; and, unless `learns` is
    False, a toy problem is learned.

    That E[1{arm = k} / p_k] = 1 is tested with `draws` random uniforms per law. The mean of the draws may
    differ from 1 by 6 standard errors and 12 / (p_k · draws): a sound policy fails less than once in 10⁶
    runs with different seeds, and never or always with the same seed.
    """
    policy = make_policy()
    for problem in _problems(policy):
        rng = np.random.default_rng(seed)
        history = _history(problem, rng)
        sums = _learned(policy, problem, history)
        _check_arithmetic(policy, problem, history, rng=rng)
        _check_growth(policy, problem, sums)
        for state in (policy.empty(problem), sums):
            before = policy.dump(state)
            for allocation in _allocations(problem):
                served = policy.prepare(problem, state, allocation)
                _check_law(served, problem, allocation, history=history)
                _check_masks(served, problem, history)
            _check_draws(
                policy.prepare(problem, state, Allocation.even(len(_ARMS))),
                history,
                rng=rng,
                draws=draws,
            )
            _check_summaries(policy, problem, state)
            _require(policy.dump(state) == before, "preparing and selecting leave the state alone")
        _check_refusals(policy, problem, sums)
    if learns:
        for problem in _problems(policy):
            _check_learning(policy, problem, np.random.default_rng(seed))


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"not so: {sentence}")


def _problems(policy: Policy) -> Iterator[Problem]:
    """Yield one problem for each reward type and kind of context that the policy declares."""
    dimensions = {"ignored": (1,), "required": (4,), "optional": (1, 4)}[policy.spec.context]
    # A range that is not [0, 1] shows a policy that forgets to scale; a vast one, a policy that loses small
    # rewards in it.
    ranges = {"binary": (0.0, 1.0), "bounded": (-1.0, 3.0), "continuous": (-(2.0**20), 2.0**20)}
    for reward_type in policy.spec.reward_types:
        low, high = ranges[reward_type]
        for dimension in dimensions:
            yield Problem(
                arms=_ARMS, dimension=dimension, low=low, high=high, reward_type=reward_type
            )


@dataclass(frozen=True, slots=True)
class _Event:
    """One decision and what it earned."""

    id: int
    arm: int
    reward: float
    propensity: float
    vector: bytes | None


def _history(problem: Problem, rng: np.random.Generator) -> list[_Event]:
    """Return distinct events with rewards over the problem's range (a part of it when it is vast)."""
    low, high = max(problem.low, -5.0), min(problem.high, 5.0)
    events = []
    for event_id in range(_EVENTS):
        arm = int(rng.integers(len(_ARMS)))
        if problem.reward_type == "binary":
            reward = float(rng.random() < 0.2 + 0.2 * arm)
        else:
            reward = float(rng.uniform(low, high))
        events.append(
            _Event(event_id, arm, reward, float(rng.uniform(0.05, 1)), _vector(problem, rng))
        )
    return events


def _vector(problem: Problem, rng: np.random.Generator) -> bytes | None:
    if not problem.features:
        return None
    return rng.normal(size=problem.features).astype("<f8").tobytes()


def _batch(events: Sequence[_Event]) -> Batch:
    vectors = [e.vector for e in events if e.vector is not None]
    return Batch.of(
        [e.arm for e in events],
        [e.reward for e in events],
        propensities=[e.propensity for e in events],
        vectors=vectors or None,
    )


def _learned(policy: Policy, problem: Problem, events: Sequence[_Event]) -> State:
    return policy.learn(problem, policy.empty(problem), _batch(events))


def _allocations(problem: Problem) -> Iterator[Allocation]:
    count = len(problem.arms)
    everything = (True,) * count
    # At 1 the law is uniform whatever was learned.
    for floor in (0.0, 0.01, 0.5, 1.0):
        yield Allocation.even(count, explore_floor=floor)
    yield Allocation(enabled=(True, False, *everything[2:]))
    # A single arm left: its probability must be 1 and not 1 less a rounding error.
    yield Allocation(enabled=(False,) * (count - 1) + (True,))
    for floor in (0.0, 0.05):
        yield Allocation(
            enabled=everything,
            min_share=(0.3,) + (0.0,) * (count - 1),
            max_share=(1.0, 0.2) + (0.4,) * (count - 2),
            explore_floor=floor,
        )


def _check_law(
    served: Served, problem: Problem, allocation: Allocation, *, history: Sequence[_Event]
) -> None:
    even = allocation.explore_floor / sum(allocation.enabled)
    for event in history[:5]:
        law = served.law(event.vector)
        _require(len(law) == len(problem.arms), "a law has one entry per arm")
        _require(abs(math.fsum(law) - 1) < _EXACT, f"the law {law} adds up to 1")
        for k, share in enumerate(law):
            if not allocation.enabled[k]:
                _require(share == 0, "a disabled arm gets nothing")
                continue
            low = allocation.min_share[k] if allocation.min_share else 0.0
            high = allocation.max_share[k] if allocation.max_share else 1.0
            # A maximum share below the floor wins over it: the floor would otherwise break a cap that somebody
            # set.
            least = max(low, min(even, high))
            _require(least - _EXACT <= share <= high + _EXACT, f"share {share} keeps its bounds")
            # Estimates divide by it: a subnormal share would make an infinite weight.
            _require(share == 0 or share >= LEAST_PROPENSITY, f"share {share} can be divided by")
        # The greatest number below 1 finds a cumulated law that ends short of 1 by rounding.
        for u in (0.0, 0.25, 0.5, 0.75, math.nextafter(1, 0)):
            draw = served.select(event.vector, u)
            _require(draw == served.select(event.vector, u), "the same uniform draws the same arm")
            _require(draw.propensity == law[draw.arm] > 0, "the propensity is that of the law")
    if isinstance(served, ServedTogether):
        _check_together(served, [event.vector for event in history[:40]])


def _check_together(served: ServedTogether, vectors: Sequence[bytes | None]) -> None:
    # Uniforms in the middle of equal cells: none lies on the edge of an arm, where rounding decides.
    us = [(k + 0.5) / len(vectors) for k in range(len(vectors))]
    for vector, u, draw in zip(vectors, us, served.select_many(vectors, us), strict=True):
        alone = served.select(vector, u)
        _require(draw.arm == alone.arm, "drawn together, a context gets the arm it gets alone")
        _require(
            abs(draw.propensity - alone.propensity) <= _EXACT,
            "drawn together, an arm has the propensity it has alone",
        )


def _check_masks(served: Served, problem: Problem, history: Sequence[_Event]) -> None:
    vector = history[0].vector
    for allowed in (list(served.enabled[:1]), list(served.enabled[-2:])):
        law = served.law(vector, mask=allowed)
        _require(abs(math.fsum(law) - 1) < _EXACT, "a masked law adds up to 1")
        _require({k for k, p in enumerate(law) if p > 0} <= set(allowed), "a mask is respected")
        for u in (0.0, 0.5, math.nextafter(1, 0)):
            draw = served.select(vector, u, mask=allowed)
            _require(draw.propensity == law[draw.arm] > 0, "a masked draw reports its law")
    outside = [k for k in range(len(problem.arms)) if k not in served.enabled]
    for mask in ([], outside):
        _refuses(MaskEmpty, partial(served.select, vector, 0.5, mask=mask), what="an empty mask")


def _check_draws(
    served: Served, history: Sequence[_Event], *, rng: np.random.Generator, draws: int
) -> None:
    """Compare how often each arm is drawn, over its reported propensity, with 1."""
    vector = history[0].vector
    law = served.law(vector)
    weights = [0.0] * len(law)
    for u in rng.random(draws).tolist():
        draw = served.select(vector, u)
        # Each arm's inverse propensities add up to the number of draws on average, if and only if it is drawn
        # at its propensity.
        weights[draw.arm] += 1 / draw.propensity
    for k, p in enumerate(law):
        if p > 0:
            error = abs(weights[k] / draws - 1)
            # The variance of 1{arm} / p is (1 - p) / p. The second term allows for the skew of rare arms
            # (Bernstein).
            bound = _SIGMAS * math.sqrt((1 - p) / (p * draws)) + 2 * _SIGMAS / (p * draws)
            _require(error <= bound, f"arm {k} is drawn as often as its propensity {p} says")


def _check_arithmetic(
    policy: Policy, problem: Problem, history: Sequence[_Event], *, rng: np.random.Generator
) -> None:
    """Check that a state is stored without loss; of one of sums, that only the set of distinct events matters."""
    dump = policy.dump
    whole = _learned(policy, problem, history)
    expected = dump(whole)
    _require(dump(policy.load(expected)) == expected, "a stored state is loaded bit for bit")
    _require(dump(_learned(policy, problem, history)) == expected, "learning is repeatable")
    if not isinstance(whole, Sums):
        return
    shuffled = [history[i] for i in rng.permutation(len(history))]
    _require(dump(_learned(policy, problem, shuffled)) == expected, "the order does not matter")
    repeated = {event.id: event for event in shuffled + shuffled[:50]}
    _require(
        dump(_learned(policy, problem, list(repeated.values()))) == expected,
        "duplicates, once removed by id, do not matter",
    )
    # Floating-point sums would depend on the batches; the sums are exact (decision 0002), so the bits must
    # agree.
    for size in (1, 7, 256):
        state = policy.empty(problem)
        for start in range(0, len(shuffled), size):
            state = policy.learn(problem, state, _batch(shuffled[start : start + size]))
        _require(dump(state) == expected, f"batches of {size} give the same bits")
    half, rest = (_learned(policy, problem, part) for part in (history[:100], history[100:]))
    _require(dump(merge(rest, half)) == dump(merge(half, rest)), "merging commutes")
    first = _batch(history[:100])
    _require(
        dump(policy.unlearn(problem, whole, first)) == dump(rest),
        "unlearn takes out what learn put in",
    )
    arms = len(problem.arms)
    one, none = np.ones(arms), np.zeros(arms)
    _require(
        dump(policy.weighted(problem, [(half, one), (rest, one)])) == expected,
        "events of weight 1 count like learned ones",
    )
    _require(
        dump(policy.weighted(problem, [(half, one), (rest, none)])) == dump(half),
        "events of weight 0 do not count",
    )
    _require(dump(whole) == expected, "learning and unlearning leave their arguments alone")
    _refuses(
        Invalid,
        lambda: policy.unlearn(problem, half, _batch(history)),
        what="taking out what was never learned",
    )


def _check_growth(policy: Policy, problem: Problem, state: State) -> None:
    bigger = Problem(
        arms=(*problem.arms, "new"),
        dimension=problem.dimension,
        low=problem.low,
        high=problem.high,
        reward_type=problem.reward_type,
    )
    grown = policy.grow(bigger, state)
    counts = policy.counts(state)
    _require(policy.counts(grown) == [*counts, 0], "old arms keep their positions")
    served = policy.prepare(bigger, grown, Allocation.even(len(bigger.arms)))
    vector = np.zeros(problem.features).tobytes() if problem.features else None
    _require(abs(math.fsum(served.law(vector)) - 1) < _EXACT, "a law with a new arm adds up to 1")
    _refuses(Invalid, lambda: policy.grow(problem, grown), what="losing an arm")


def _check_summaries(policy: Policy, problem: Problem, state: State) -> None:
    found = policy.summaries(problem, state, Allocation.even(len(problem.arms)))
    _require([s.arm for s in found] == list(problem.arms), "summaries come by position")
    _require([s.n for s in found] == policy.counts(state), "summaries count events")
    _require(abs(math.fsum(s.share for s in found) - 1) < _EXACT, "shares add up to 1")
    _require(abs(math.fsum(s.p_best for s in found) - 1) < _EXACT, "P(best) adds up to 1")
    for summary in found:
        if summary.n:
            _require(
                summary.mean is not None
                and summary.low is not None
                and summary.high is not None
                and summary.low <= summary.mean <= summary.high,
                "an interval holds its mean",
            )


def _check_refusals(policy: Policy, problem: Problem, sums: State) -> None:
    count = len(problem.arms)
    none = Allocation(enabled=(False,) * count)
    _refuses(NoArms, lambda: policy.prepare(problem, sums, none), what="no enabled arm")
    too_much = Allocation(enabled=(True,) * count, min_share=(0.6,) * count)
    _refuses(
        Invalid, lambda: policy.prepare(problem, sums, too_much), what="minimum shares above 1"
    )
    too_little = Allocation(enabled=(True,) * count, max_share=(0.1,) * count)
    _refuses(Invalid, lambda: policy.prepare(problem, sums, too_little), what="too small maxima")
    vectors = np.zeros((1, problem.features)) if problem.features else None
    # One NaN in a sum stays there for ever.
    for reward in (math.nan, math.inf, 2 * problem.high):
        bad = Batch(np.array([0]), np.array([reward]), np.array([0.5]), vectors)
        _refuses(Invalid, partial(policy.learn, problem, sums, bad), what=f"reward {reward}")
    if problem.features:
        served = policy.prepare(problem, sums, Allocation.even(count))
        for vector in (None, b"", [0.0] * (problem.features + 1), [math.nan] * problem.features):
            _refuses(Invalid, partial(served.select, vector, 0.5), what=f"vector {vector!r}")


def _refuses(error: type[Exception], act: Callable[[], object], *, what: str) -> None:
    try:
        act()
    except error:
        return
    raise AssertionError(f"not so: {what} is refused with {error.__name__}")


def _check_learning(policy: Policy, problem: Problem, rng: np.random.Generator) -> None:
    """Check that a problem with one clearly best arm (per sign of the context) is learned.

    The last third of 3,000 rounds, learned in batches of 30, must earn at least half of what separates
    uniform choice from always choosing best.
    """
    sums, earned = policy.empty(problem), []
    served = policy.prepare(problem, sums, Allocation.even(len(problem.arms)))
    low, high = max(problem.low, -5.0), min(problem.high, 5.0)
    events: list[_Event] = []
    for step in range(3000):
        vector = _vector(problem, rng)
        draw = served.select(vector, float(rng.random()))
        # The best arm turns with the sign of one feature, so a policy that ignores the context earns too
        # little.
        best = 3 if vector is None or np.frombuffer(vector)[0] > 0 else 1
        wins = float(rng.random() < (0.8 if draw.arm == best else 0.2))
        events.append(_Event(step, draw.arm, low + (high - low) * wins, draw.propensity, vector))
        earned.append(wins)
        if len(events) == 30:
            sums = policy.learn(problem, sums, _batch(events))
            served = policy.prepare(problem, sums, Allocation.even(len(problem.arms)))
            events = []
    uniform, perfect = 0.2 + 0.6 / len(problem.arms), 0.8
    reward = math.fsum(earned[-1000:]) / 1000
    _require(
        reward >= (uniform + perfect) / 2,
        f"it learns: {reward:.3f} of at most {perfect}, uniform choice earns {uniform}",
    )
