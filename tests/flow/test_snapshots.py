"""A door that serves from the store of snapshots chooses as the door beside the learner, for every policy.

Both doors get the same random numbers, so every arm, probability and signed decision has to be equal, bit for bit.
"""

from __future__ import annotations

import multiprocessing
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.unit.learning.world import LAZY, TENANT, World, settle

from loopwright.backends import resolve
from loopwright.backends.memory import MemorySnapshotStore
from loopwright.core.context import Context
from loopwright.core.decision import Decision
from loopwright.core.errors import Broken, ExperimentClosed
from loopwright.core.events import Decided
from loopwright.core.experiment import Arm, ContextSpec, Experiment, PolicyChoice
from loopwright.core.ids import Ids
from loopwright.core.ports import SnapshotKey, Versioned
from loopwright.core.reward import RewardSpec
from loopwright.core.targeting import Targeting
from loopwright.core.token import Signer
from loopwright.learning import Learner
from loopwright.people.units import Units
from loopwright.policies import Snapshots, specs
from loopwright.serving import Follower, Selection, Selector, SelectRequest
from loopwright.testing import ManualClock

ID = "greeting"
DIMENSION = 3
MASKS = (None, ["a", "b"], ["b", "d"], ["d"])
ARMS = (
    Arm(id="a", min_share=0.1, payload={"text": "Hi"}),
    Arm(id="b", max_share=0.5),
    Arm(id="c", state="disabled"),
    Arm(id="d"),
)


class Door:
    """A selector whose random numbers, clock and keys are the same in every door."""

    def __init__(self, snapshots: Snapshots) -> None:
        self.clock = ManualClock()
        self.offered: list[Decision] = []
        self.signer = Signer({1: bytes(range(32))}, active=1)
        self.selector = Selector(
            snapshots,
            self.signer,
            offer=self._offer,
            find=lambda tenant_id, id: Experiment(
                id=id, tenant_id=tenant_id, state="paused", arms=ARMS
            ),
            clock=self.clock,
            ids=Ids(self.clock, random.Random(1)),
            rng=random.Random(2),
            names=Units(lambda tenant_id: bytes(32)),
        )

    def _offer(self, fact: Decided) -> bool:
        self.offered.append(fact.decision)
        return True

    def chosen(self, *, has_context: bool) -> list[object]:
        """What a run of selects answers, one by one and together, and what their tokens say."""
        rng = random.Random(3)
        contexts = [
            Context(vector=[rng.gauss(0, 1) for _ in range(DIMENSION)] if has_context else None)
            for _ in range(12)
        ]
        found = [
            self.selector.select(TENANT, ID, context=context, unit_id=f"u{n}", mask=mask)
            for n, context in enumerate(contexts)
            for mask in MASKS
        ]
        requests = [SelectRequest(ID, context, f"u{n}") for n, context in enumerate(contexts)]
        for answer in self.selector.select_many(TENANT, ID, requests):
            assert isinstance(answer, Selection)
            found.append(answer)
        now_ms = self.clock.now_ms()
        signed = [self.signer.verify(answer.request_id, now_ms=now_ms) for answer in found]
        assert signed == self.offered
        # The token itself is sealed with a fresh nonce; everything that it carries is compared.
        return [
            *(msgspec.structs.replace(answer, request_id="") for answer in found),
            *((decision, decision.propensity.hex()) for decision in signed),
        ]


def experiment_of(
    policy: str, *, has_context: bool, targeting: Targeting | None = None
) -> Experiment:
    return Experiment(
        id=ID,
        tenant_id=TENANT,
        state="running",
        arms=ARMS,
        policy=PolicyChoice(policy),
        reward=RewardSpec(type="binary"),
        context=ContextSpec(DIMENSION) if has_context else None,
        explore_floor=0.05,
        targeting=targeting,
    )


def teach(world: World, n: int, *, seed: int, has_context: bool) -> None:
    """Log decisions with unequal propensities, which weigh their rewards, and the rewards."""
    rng = random.Random(seed)
    for _ in range(n):
        vector = None
        if has_context:
            vector = struct.pack(f"<{DIMENSION}d", *(rng.gauss(0, 1) for _ in range(DIMENSION)))
        decided = world.decide(rng.choice("abd"), p=rng.uniform(0.05, 1.0), vector=vector)
        world.reward(decided, float(rng.random() < 0.5))


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def world_of(worlds: list[World], experiment: Experiment) -> World:
    worlds.append(World(experiment))
    return worlds[-1]


@pytest.mark.parametrize("is_sticky", [False, True])
@pytest.mark.parametrize(
    ("policy", "has_context"),
    [
        (spec.name, has_context)
        for spec in specs()
        for has_context in (False, True)
        if has_context or spec.context != "required"
    ],
)
def test_both_doors_choose_alike_after_every_step_of_learning(
    worlds: list[World], policy: str, has_context: bool, is_sticky: bool
) -> None:
    targeting = Targeting(sticky=True) if is_sticky else None
    world = world_of(worlds, experiment_of(policy, has_context=has_context, targeting=targeting))
    store, snapshots = MemorySnapshotStore(), Snapshots()
    learner = settle(world.learner(LAZY, outlet=store))
    follower = Follower(store, snapshots)
    for n in (0, 3, 1, 60):
        teach(world, n, seed=n, has_context=has_context)
        settle(learner)
        follower.turn(0)
        beside = Door(world.snapshots).chosen(has_context=has_context)
        assert Door(snapshots).chosen(has_context=has_context) == beside


def chosen_from(url: str) -> list[object]:
    """What a door in this process chooses from the store at `url`, as plain data."""
    snapshots = Snapshots()
    with closing(resolve.snapshot_store(url)) as store:
        Follower(store, snapshots)
    found: list[object] = msgspec.to_builtins(Door(snapshots).chosen(has_context=True))
    return found


def test_another_process_serves_from_the_file_while_no_learner_runs(
    worlds: list[World], tmp_path: Path
) -> None:
    world = world_of(worlds, experiment_of("LinThompson", has_context=True))
    teach(world, 40, seed=1, has_context=True)
    url = resolve.sqlite_url(tmp_path)
    with closing(resolve.snapshot_store(url)) as store:
        settle(world.learner(LAZY, outlet=store))
    beside = msgspec.to_builtins(Door(world.snapshots).chosen(has_context=True))
    # Spawned: a fork would share the memory that this test shows is not needed. It costs a start of Python.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as processes:
        assert processes.submit(chosen_from, url).result() == beside


def versions(learner: Learner, snapshots: Snapshots) -> tuple[int | None, int | None]:
    """What the door beside the learner and the other one serve."""
    served = snapshots.get(TENANT, ID)
    return learner.status(TENANT, ID).snapshot, None if served is None else served.offset


def test_a_door_does_not_go_back_with_a_learner_that_lost_its_checkpoint(
    worlds: list[World],
) -> None:
    world = world_of(worlds, experiment_of("auto", has_context=False))
    store, snapshots = MemorySnapshotStore(), Snapshots()
    follower = Follower(store, snapshots)
    learner = world.learner(LAZY, outlet=store)
    teach(world, 20, seed=1, has_context=False)
    settle(learner)
    follower.turn(0)
    newest = world.log.head()
    assert versions(learner, snapshots) == (newest, newest)
    # It has written no checkpoint, so it begins anew and publishes what it knows at each step.
    again = world.learner(LAZY, outlet=store)
    assert again.step() > 0
    follower.turn(0)
    assert versions(again, snapshots)[1] == newest
    teach(world, 1, seed=2, has_context=False)
    settle(again)
    follower.turn(0)
    assert versions(again, snapshots) == (world.log.head(), world.log.head())


def test_a_change_of_the_experiment_reaches_both_doors(worlds: list[World]) -> None:
    world = world_of(worlds, experiment_of("auto", has_context=False))
    store, snapshots = MemorySnapshotStore(), Snapshots()
    learner = settle(world.learner(LAZY, outlet=store))
    follower = Follower(store, snapshots)
    running = world.catalog[TENANT, ID]
    paused = msgspec.structs.replace(running, state="paused", revision=2)
    world.change(paused, learner)
    settle(learner)
    follower.turn(0)
    for served in (world.snapshots, snapshots):
        with pytest.raises(ExperimentClosed):
            Door(served).selector.select(TENANT, ID)
    arms = (*ARMS, Arm(id="e", min_share=0.3))
    world.change(msgspec.structs.replace(running, arms=arms, revision=3), learner)
    settle(learner)
    follower.turn(0)
    chosen = Door(snapshots).chosen(has_context=False)
    assert chosen == Door(world.snapshots).chosen(has_context=False)
    assert snapshots.get(TENANT, ID) is not None
    assert "'e'" in repr(chosen)


class Cut(MemorySnapshotStore):
    """A store that cannot be reached for a while."""

    is_cut = False

    def put(self, key: SnapshotKey, snapshot: Versioned) -> bool:
        if self.is_cut:
            raise Broken("the store cannot be reached")
        return super().put(key, snapshot)


def test_a_store_out_of_reach_stops_neither_learning_nor_the_door_beside_it(
    worlds: list[World], caplog: pytest.LogCaptureFixture
) -> None:
    world = world_of(worlds, experiment_of("auto", has_context=False))
    store, snapshots = Cut(), Snapshots()
    learner = settle(world.learner(LAZY, outlet=store))
    follower = Follower(store, snapshots)
    before = versions(learner, snapshots)[1]
    store.is_cut = True
    for seed in (1, 2):
        teach(world, 3, seed=seed, has_context=False)
        settle(learner)
    follower.turn(0)
    assert versions(learner, snapshots) == (world.log.head(), before)
    assert caplog.text.count("snapshots do not reach other processes") == 1
    store.is_cut = False
    learner.step()
    follower.turn(0)
    assert versions(learner, snapshots) == (world.log.head(), world.log.head())
