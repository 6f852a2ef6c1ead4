"""What serves from bytes chooses as what was prepared beside the learner: same arms, same probabilities, bit for bit."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from loopwright.core.errors import LoopError
from loopwright.core.experiment import Arm, ContextSpec, Experiment, PolicyChoice
from loopwright.core.reward import RewardSpec
from loopwright.policies import (
    Allocation,
    Batch,
    Policy,
    Problem,
    Served,
    ServedTogether,
    State,
    StateCorrupt,
    handover,
    policy_of,
    specs,
)

DIMENSION = 3
POSITIONS = range(4)
MASKS: tuple[Sequence[int] | None, ...] = (None, (0, 1), (1, 3), (3,))

PLAIN = tuple(Arm(id=id) for id in "abcd")
SHARED = (
    Arm(id="a", min_share=0.2),
    Arm(id="b", max_share=0.3),
    Arm(id="c", state="disabled"),
    Arm(id="d", min_share=0.1, max_share=0.6),
)


def experiment_of(
    name: str, *, arms: tuple[Arm, ...] = PLAIN, has_context: bool = False, **changes: Any
) -> Experiment:
    return Experiment(
        id="x",
        tenant_id="acme",
        state="running",
        arms=arms,
        policy=PolicyChoice(name),
        reward=RewardSpec(type="binary"),
        context=ContextSpec(DIMENSION) if has_context else None,
        **changes,
    )


def experiments() -> list[Experiment]:
    """Every policy of the catalog, with the contexts it can have, with and without shares and a wide floor."""
    return [
        experiment_of(spec.name, arms=arms, has_context=has_context, explore_floor=floor)
        for spec in specs()
        if "binary" in spec.reward_types
        for has_context in (False, True)
        if has_context or spec.context != "required"
        for arms, floor in ((PLAIN, 0.01), (SHARED, 0.15))
    ]


def batch(rng: random.Random, experiment: Experiment, n: int) -> Batch:
    """Rewards with unequal logged propensities, which weigh them differently."""
    vectors = None
    if experiment.context is not None:
        vectors = [vector(rng) for _ in range(n)]
    arms = [rng.randrange(4) for _ in range(n)]
    return Batch.of(
        arms,
        [float(rng.random() < 0.2 + 0.2 * arm) for arm in arms],
        propensities=[rng.uniform(0.05, 1.0) for _ in range(n)],
        vectors=vectors,
    )


def vector(rng: random.Random) -> bytes:
    return struct.pack(f"<{DIMENSION}d", *(rng.gauss(0, 1) for _ in range(DIMENSION)))


def outcomes(served: Served, experiment: Experiment) -> list[object]:
    """Draws and laws for the same uniforms, contexts and masks."""
    rng = random.Random(9)
    found: list[object] = [served.arms, served.enabled]
    for _ in range(12):
        context = None if experiment.context is None else vector(rng)
        u = rng.random()
        for mask in MASKS:
            draw = served.select(context, u, mask=mask)
            found.append((draw.arm, draw.propensity.hex()))
            found.append([share.hex() for share in served.law(context, mask=mask)])
    if isinstance(served, ServedTogether) and experiment.context is not None:
        draws = served.select_many(
            [vector(rng) for _ in range(8)], [rng.random() for _ in range(8)]
        )
        found.append([(draw.arm, draw.propensity.hex()) for draw in draws])
    return found


def learned(experiment: Experiment) -> tuple[Policy, Problem, list[State]]:
    """States as a learner goes through them: empty, after a few rewards, one more, many more, some taken out."""
    policy, problem, rng = policy_of(experiment), Problem.of(experiment), random.Random(5)
    states = [policy.empty(problem)]
    few = batch(rng, experiment, 5)
    for some in (few, batch(rng, experiment, 1), batch(rng, experiment, 200)):
        states.append(policy.learn(problem, states[-1], some))
    states.append(policy.unlearn(problem, states[-1], few))
    return policy, problem, states


def test_every_policy_of_the_catalog_is_tried() -> None:
    assert {e.policy.name for e in experiments()} == {spec.name for spec in specs()}


@pytest.mark.parametrize(
    "experiment",
    experiments(),
    ids=lambda e: f"{e.policy.name}-{'context' if e.context else 'plain'}-{e.explore_floor}",
)
def test_every_policy_serves_alike_from_bytes(experiment: Experiment) -> None:
    policy, problem, states = learned(experiment)
    direct: Served | None = None
    followed: Served | None = None
    for offset, state in enumerate(states):
        direct = policy.prepare(problem, state, Allocation.of(experiment), previous=direct)
        value = handover.dump(experiment, policy, state)
        # Once after every earlier snapshot, and once as in a door that has just started.
        for previous in (followed, None):
            published = handover.load(value, offset=offset, previous=previous)
            assert published is not None
            assert (published.experiment, published.offset) == (experiment, offset)
            assert outcomes(published.served, experiment) == outcomes(direct, experiment)
            followed = published.served


def test_equal_states_give_equal_bytes() -> None:
    experiment = experiment_of("BetaThompson")
    policy, _, states = learned(experiment)
    again = policy.load(policy.dump(states[2]))
    assert handover.dump(experiment, policy, again) == handover.dump(experiment, policy, states[2])


def test_the_experiment_travels_whole() -> None:
    arms = (
        Arm(id="a", payload={"text": "Hi", "k": [1, 2.5, None]}, metadata={"cost": 3}),
        *PLAIN[1:],
    )
    experiment = experiment_of("auto", arms=arms, has_context=True, revision=9)
    policy = policy_of(experiment)
    value = handover.dump(experiment, policy, policy.empty(Problem.of(experiment)))
    published = handover.load(value, offset=1)
    assert published is not None
    assert published.experiment == experiment


def test_a_withdrawn_experiment_serves_nothing() -> None:
    assert handover.load(handover.withdrawal(experiment_of("Uniform")), offset=3) is None


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
def test_bytes_that_were_cut_are_refused(keep: int) -> None:
    experiment = experiment_of("BetaThompson")
    policy, _, states = learned(experiment)
    with pytest.raises(LoopError):
        handover.load(handover.dump(experiment, policy, states[-1])[:keep], offset=1)


def test_a_state_of_another_policy_is_refused_by_both_names() -> None:
    experiment = experiment_of("auto")
    state = policy_of(experiment).empty(Problem.of(experiment))
    other = policy_of(experiment_of("UCB1Tuned"))
    with pytest.raises(StateCorrupt, match=r"UCB1Tuned; here it is BetaThompson: run one release"):
        handover.load(handover.dump(experiment, other, state), offset=1)


def test_more_arms_than_the_state_knows_are_refused() -> None:
    experiment = experiment_of("BetaThompson")
    policy, _, states = learned(experiment)
    wider = msgspec.structs.replace(experiment, arms=(*PLAIN, Arm(id="e")))
    with pytest.raises(LoopError):
        handover.load(handover.dump(wider, policy, states[-1]), offset=1)
