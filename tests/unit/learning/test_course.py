from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.learning.world import TENANT, World, experiment

from loopwright.core.decision import Decision
from loopwright.core.errors import Broken
from loopwright.core.events import (
    Consented,
    Decided,
    ExperimentChanged,
    Fact,
    Reported,
    RolledBack,
    Ticked,
)
from loopwright.core.feedback import Note, Outcome, Target
from loopwright.learning.course import Course, sort
from loopwright.learning.group import Group
from loopwright.learning.memory import Remembered
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.trainer import Trainer


@pytest.mark.parametrize(
    ("note", "learned"),
    [
        (Note(occurred_at_ms=1), 1),
        (Note(occurred_at_ms=1, consent=("store", "analyze")), 0),
        (Note(occurred_at_ms=1, quarantined="burst"), 0),
    ],
)
def test_a_typed_outcome_trains_unless_it_must_not(note: Note, learned: int) -> None:
    made = Decision("0" * 32, "acme", "greeting", "a", 0.5, 1, 1)
    outcome = Outcome("reward", 1.0)
    fact = Reported("e1", 1, "acme", Target(made), outcome, note)
    group = Group(traced=False)
    sort([(1, fact)], 0, groups={("acme", "greeting"): group}, event_ms=0)
    assert len(group.received) == learned
    other = Reported("e2", 1, "acme", Target(decision_id="0" * 32), outcome, note)
    sort([(2, other)], 0, groups={("acme", "greeting"): group}, event_ms=0)
    assert len(group.received) == learned


KEY = (TENANT, "greeting")
WINDOW: dict[str, Any] = {"window_s": 60.0, "default": 0.0}


def course_of(world: World, **hooks: Any) -> tuple[Course, Trainer]:
    """Return a course at the beginning of the log that the one experiment of `world` reads along."""
    trainer = Trainer(world.catalog[KEY], EmptyShelf())
    course = Course(0, 0, **hooks)
    course.join(trainer)
    return course, trainer


def rewards(world: World, *values: float) -> list[Fact]:
    return [world.feedback(world.decision("a"), value) for value in values]


def located(*facts: Fact) -> list[tuple[int, Fact]]:
    return list(enumerate(facts, 1))


def test_event_time_never_goes_back_and_the_offset_is_the_last_fact_read() -> None:
    world = World(experiment())
    course, _ = course_of(world)
    course.read(located(Ticked(500), Ticked(900), Ticked(200)))
    assert (course.offset, course.event_ms) == (3, 900)
    course.read([(4, Ticked(700))])
    assert (course.offset, course.event_ms) == (4, 900)
    assert course.read([]) == set()
    world.close()


def test_a_rollback_finds_all_before_it_learned_and_nothing_after_it() -> None:
    world = World(experiment())
    course, trainer = course_of(world)
    empty = trainer.snapshot(0).state
    seen: list[int] = []
    course, trainer = course_of(world, before_rollback=lambda t: seen.append(t.tally.rows))
    fact = RolledBack(world.clock.now_ms(), TENANT, "greeting", 0, empty)
    assert course.read(located(*rewards(world, 1.0, 0.0), fact, *rewards(world, 1.0))) == {KEY}
    assert (seen, trainer.tally.rows, trainer.sealed, trainer.version) == ([2], 1, 3, 4)
    world.close()


def test_one_that_cannot_learn_leaves_and_the_others_read_on() -> None:
    world = World(experiment())
    expelled: list[str] = []
    course, _ = course_of(world, expel=lambda t, error: expelled.append(t.key[1]))
    other = Trainer(experiment("other"), EmptyShelf())
    course.join(other)
    foreign = RolledBack(world.clock.now_ms(), TENANT, "greeting", 0, b"no state at all")
    told = world.feedback(world.decision("a", id="other"), 1.0)
    course.read(located(foreign, told, *rewards(world, 1.0)))
    assert (expelled, list(course.trainers), other.tally.rows) == (["greeting"], [other.key], 1)
    world.close()


def test_an_engine_that_refuses_is_nobodys_fault_and_rises() -> None:
    class Refusing(EmptyShelf):
        def get(self, decision_ids: Sequence[str]) -> list[tuple[str, Remembered]]:
            raise Broken("the disk cannot be read")

    world = World(experiment(duplicates="latest"))
    expelled: list[object] = []
    course = Course(0, 0, expel=lambda *failed: expelled.append(failed))
    course.join(Trainer(world.catalog[KEY], Refusing()))
    with pytest.raises(Broken, match="cannot be read"):
        course.read(located(*rewards(world, 1.0)))
    assert (expelled, list(course.trainers)) == ([], [KEY])
    world.close()


def test_a_window_that_ends_at_the_fact_of_a_pause_is_closed_before_the_pause_is_told() -> None:
    world = World(experiment(**WINDOW))
    rows: list[int] = []
    course, trainer = course_of(world, control=lambda *_: count())

    def count() -> None:
        rows.append(trainer.tally.rows)

    decided = Decided(world.decision("a"))
    course.read([(1, decided)])
    due_ms = course.next_due_ms()
    assert due_ms == decided.decision.decided_at_ms + 60_000
    world.clock.advance(seconds=61)
    paused = ExperimentChanged("e1", world.clock.now_ms(), experiment(state="paused", **WINDOW))
    course.read([(2, paused)])
    assert (rows, course.next_due_ms()) == ([1], float("inf"))
    world.close()


def test_caches_follow_facts_of_the_control_plane_in_their_order_with_the_rest() -> None:
    world = World(experiment())
    followed: list[Fact] = []
    course, _ = course_of(world, follow=followed.append)
    consent = Consented("c1", 1, TENANT, "ann", ("store",))
    changed = ExperimentChanged("e1", 2, experiment())
    course.read(located(*rewards(world, 1.0), consent, changed, Ticked(3)))
    assert followed == [consent, changed]
    world.close()
