"""Whatever happens to an experiment, and wherever the learner dies: learned = acknowledged = replay, bit for bit."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.learning.world import LAZY, TENANT, World, arms, experiment, settle

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.decision import Decision
from loopwright.core.errors import Broken
from loopwright.core.events import Decided, RolledBack
from loopwright.core.experiment import Arm, Caps
from loopwright.learning import Learner, Pace, replay
from loopwright.learning.store import Store

KEY = (TENANT, "greeting")
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "windowed": {"window_s": 5.0, "default": 0.0, "type": "bounded", "duplicates": "latest"},
    "revised": {"type": "bounded", "duplicates": "add"},
    "capped": {"caps": Caps(per_person=2)},
}
STEPS = (
    "reward",
    "reward",
    "reward",
    "revise",
    "pause",
    "resume",
    "add_arm",
    "disable",
    "amend",
    "roll_back",
    "tick",
    "other",
    "step",
    "settle",
    "checkpoint",
    "crash",
    "crash_twice",
    "refuse",
    "refuse",
    "end",
)


class Refusing(SqliteDatabase):
    """A database that works for a number of calls, and then refuses a number of calls."""

    works, refuses = 0, 0

    def query(self, sql, params=()):
        self.pass_or_refuse()
        return super().query(sql, params)

    def transaction(self):
        self.pass_or_refuse()
        return super().transaction()

    def pass_or_refuse(self) -> None:
        if self.works > 0:
            self.works -= 1
        elif self.refuses > 0:
            self.refuses -= 1
            raise Broken("the disk cannot be read")


class Life:
    """One experiment's life in a real state file, of which a crash may lose everything since a checkpoint."""

    def __init__(self, folder: Path, shape: str) -> None:
        self.folder, self.files = folder, 0
        self.world = World()
        self.world.database.close()
        self.database = self.world.database = Refusing(folder / "state-0.db")
        self.world.change(experiment(arms=("a", "b"), state="draft", **SHAPES[shape]))
        self.world.change(experiment(arms=("a", "b"), **SHAPES[shape]))
        self.world.change(experiment("other"))
        self.learner = self.started()
        self.states: list[bytes] = []
        self.decisions: list[Decision] = []
        self.acknowledged = 0

    @property
    def now(self):
        return self.world.catalog[KEY]

    def started(self) -> Learner:
        return self.world.learner(Pace(batch=3, checkpoint_s=1e9))

    def play(self, step: str, number: int) -> None:
        world, now = self.world, self.now
        world.clock.advance(seconds=1)
        match step:
            case "reward":
                arm = now.arms[number % len(now.arms)].id
                self.decisions.append(world.decide(arm, unit_id=f"u{number % 3}"))
                world.reward(self.decisions[-1], float(number % 2))
                self.acknowledged += 1
            case "revise" if self.decisions and now.reward.duplicates != "first":
                world.reward(self.decisions[number % len(self.decisions)], 0.5)
            case "pause" if now.state == "running":
                world.move("paused")
            case "resume" if now.state == "paused":
                world.move("running")
            case "end" if now.state != "ended" and number % 4 == 0:
                world.move("ended")
            case "add_arm" if now.state != "ended" and len(now.arms) < 5:
                self.change(arms=(*now.arms, Arm(id=f"new-{len(now.arms)}")))
            case "disable" if now.state != "ended":
                state = "enabled" if now.arms[0].state == "disabled" else "disabled"
                self.change(arms=(msgspec.structs.replace(now.arms[0], state=state), *now.arms[1:]))
            case "amend" if now.state != "ended":
                self.change(explore_floor=0.01 + number % 10 / 100)
            case "roll_back" if self.states and now.state != "ended":
                kept = self.states[number % len(self.states)]
                at_ms = world.clock.now_ms()
                world.put(RolledBack(at_ms, *KEY, 0, kept))
            case "tick":
                world.tick()
            case "other":
                world.reward(world.decide("b", id="other"), 1.0)
            case "step":
                self.learner.step()
            case "settle":
                settle(self.learner)
                self.keep_state()
            case "checkpoint":
                self.learner.stop()
            case "refuse":
                self.database.works, self.database.refuses = number % 6, 1 + number % 4
                while self.database.refuses:
                    try:
                        if not self.learner.step():
                            break
                    except Broken:
                        continue
                self.database.works = self.database.refuses = 0
                self.learner.step()
            case "crash" | "crash_twice":
                for _ in range(1 + (step == "crash_twice")):
                    self.crash()
            case _:
                pass

    def change(self, **fields) -> None:
        self.world.change(msgspec.structs.replace(self.now, **fields))

    def keep_state(self) -> None:
        """Keep what a rollback may go back to, as a snapshot does."""
        state = settle(self.learner).take_snapshot(*KEY)
        kept = Store(self.world.database).snapshot(KEY, state.version)
        assert kept is not None
        self.states.append(kept.state)

    def crash(self) -> None:
        """Go on from the state file as the last checkpoint left it; what was in memory is gone."""
        self.files += 1
        path = self.folder / f"state-{self.files}.db"
        with sqlite3.connect(path) as copy:
            source = sqlite3.connect(self.folder / f"state-{self.files - 1}.db")
            source.backup(copy)
            source.close()
        copy.close()
        self.world.database.close()
        self.database = self.world.database = Refusing(path)
        self.learner = self.started()

    def check(self) -> None:
        """Compare the learner at this place with the log alone."""
        views = self.learner.views
        positions = views.positions()
        relearned = replay(self.world.reader, through=positions)
        for key in positions:
            assert views.dump(*key) == relearned[key]
            newest = self.world.catalog[key]
            served = self.world.snapshots.get(*key)
            if self.learner.caught_up(self.world.log.head()):
                assert (served is None) == (newest.state != "running")
                assert served is None or served.experiment == newest


@pytest.mark.parametrize("shape", SHAPES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_learned_is_acknowledged_is_replayed_for_every_schedule(shape, data):
    steps = data.draw(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 30)), max_size=40))
    with TemporaryDirectory() as folder:
        life = Life(Path(folder), shape)
        for step, number in steps:
            life.play(step, number)
            life.check()
        if life.now.state == "paused":
            life.play("resume", 0)
        settle(life.learner)
        life.check()
        assert {key: life.learner.dump(*key) for key in life.learner.views.positions()} == replay(
            life.world.reader
        )
        was_ended = any(step == "end" for step, _ in steps)
        was_turned_back = any(step == "roll_back" for step, _ in steps)
        if shape == "plain" and not (was_ended or was_turned_back):
            assert sum(n for n, _ in arms(life.learner).values()) == life.acknowledged
        life.learner.stop()
        life.world.close()


def test_a_pause_that_no_checkpoint_saw_loses_nothing(tmp_path):
    """Fault 1: killed between the pause and the next checkpoint, then resumed after a restart."""
    life = Life(tmp_path, "plain")
    for step in ("reward",) * 10 + ("settle", "pause", "step", "crash") + ("reward",) * 10:
        life.play(step, 1)
    settle(life.learner)
    assert life.world.snapshots.get(*KEY) is None
    for step in ("checkpoint", "crash", "reward", "resume", "reward", "crash_twice"):
        life.play(step, 1)
    settle(life.learner)
    assert sum(n for n, _ in arms(life.learner).values()) == life.acknowledged == 22
    assert life.learner.dump(*KEY) == life.world.replayed()
    life.world.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("refuses", [1, 2, 5])
def test_an_engine_that_refuses_at_any_call_makes_the_learner_skip_nothing(
    tmp_path, shape, refuses
):
    """A pause, a change, an experiment that is born and rewards: the first pass may fail at each call of the database."""
    life = Life(tmp_path, shape)
    steps = (
        "reward",
        "pause",
        "reward",
        "resume",
        "checkpoint",
        "reward",
        "add_arm",
        "reward",
        "reward",
    )
    for works in range(12):
        for number, step in enumerate(steps):
            life.play(step, number)
        life.world.change(experiment(f"born-{works}", **SHAPES[shape]))
        life.world.reward(life.world.decide("a", id=f"born-{works}"), 1.0)
        life.database.works, life.database.refuses = works, refuses
        for _ in range(refuses):
            with suppress(Broken):
                settle(life.learner)
        life.database.works = life.database.refuses = 0
        settle(life.learner)
        life.check()
        assert life.learner.views.degraded() == {}
        assert {key: life.learner.dump(*key) for key in life.learner.views.positions()} == replay(
            life.world.reader
        )
    life.world.close()


def test_a_pause_after_the_last_checkpoint_is_never_served_after_a_crash():
    world = World(experiment())
    settle(world.learner()).stop()
    world.move("paused")
    learner = Learner(
        world.reader,
        world.writer,
        database=world.database,
        snapshots=world.snapshots,
        head=world.log.head,
        clock=world.clock,
    )
    assert world.snapshots.get(*KEY) is None
    assert learner.published == 0
    world.close()


def test_a_change_of_one_that_is_behind_serves_at_once():
    world = World(experiment())
    learner = world.learner(Pace(batch=2, checkpoint_s=1e9))
    world.move("paused", learner)
    for _ in range(20):
        world.reward(world.decide("a"), 1.0)
    world.move("running")
    off = world.catalog[KEY]
    world.change(msgspec.structs.replace(off, arms=(Arm(id="a", state="disabled"), *off.arms[1:])))
    while learner.offset < world.log.head():
        learner.step()
    assert not learner.caught_up(world.log.head())
    published = world.snapshots.get(*KEY)
    assert published is not None
    assert published.served.law(None)[0] == 0
    assert arms(settle(learner))["a"][0] == 20
    world.close()


def test_an_adopted_experiment_learns_what_came_before_its_adoption():
    world = World()
    for _ in range(5):
        world.reward(world.decide("a"), 1.0)
    learner = settle(world.learner())
    assert learner.unknown > 0
    world.change(experiment(), learner, adopted=True)
    settle(learner)
    assert arms(learner)["a"][0] == 5
    assert learner.dump(*KEY) == world.replayed()
    world.close()


@pytest.mark.parametrize("state", ["running", "paused", "ended"])
def test_a_state_from_before_control_facts_goes_on_where_it_stood(state):
    world = World(experiment())
    learner = world.learner(LAZY)
    for _ in range(4):
        world.reward(world.decide("a"), 1.0)
    settle(learner)
    if state != "running":
        world.move(state, learner)
    learner.stop()
    stood = world.log.head()
    saved = Store(world.database).states()[KEY]
    with world.database.transaction() as session:  # as an older version left it
        old = msgspec.msgpack.encode(msgspec.structs.replace(saved, experiment=None))
        session.execute("UPDATE states SET body = ?", (old,))
        session.execute("DELETE FROM controls")
    for _ in range(3):
        world.reward(world.decide("b"), 1.0)
    learner = settle(world.learner())
    assert learner.standing() == {KEY: stood}
    learner.stop()
    learner = world.learner()
    world.change(experiment(state=state), learner, adopted=True, stands_at=learner.standing()[KEY])
    settle(learner)
    learned = arms(learner)
    assert (learned["a"][0], learned["b"][0]) == (4, 3 if state == "running" else 0)
    if state == "paused":
        world.move("running", learner)
        assert arms(settle(learner))["b"][0] == 3
    assert learner.standing() == {}
    world.close()


def test_a_decision_alone_moves_no_place(tmp_path):
    life = Life(tmp_path, "plain")
    life.world.put(Decided(life.world.decision("a")))
    settle(life.learner)
    assert set(life.learner.views.positions().values()) == {life.world.log.head()}
    life.world.close()
