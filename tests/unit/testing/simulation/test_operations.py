from __future__ import annotations

import random
from dataclasses import replace

import pytest

from loopwright.testing.simulation import OPERATIONS, Operation, Schedule, Simulation, World
from loopwright.testing.simulation.operations import EXPERIMENTS, REPORTING


def after(steps: str, *, seed: int = 1) -> World:
    """Run a schedule that violates nothing; return what its clients knew at the end."""
    worlds: list[World] = []

    def keep(world: World, rng: random.Random) -> None:
        worlds.append(world)

    with Simulation(operations=[Operation("keep", keep, by="controller")]) as simulation:
        text = f"seed={seed} restlessness=0.0 {steps} keep#0"
        assert simulation.run(Schedule.read(text)) is None
    return worlds[0]


def test_feedback_selects_first_and_is_kept_as_acknowledged() -> None:
    book = after("feedback#1 feedback_batch#2 retry#3").book
    assert len(book.selections) == 1
    assert 3 <= len(book.sent) <= 6
    assert all(sent.is_acknowledged for sent in book.sent.values())


def test_a_revoked_key_is_no_more_among_those_in_use() -> None:
    book = after("make_key#1 make_key#2 revoke_key#3").book
    assert (len(book.keys), len(book.revoked)) == (1, 1)
    assert set(book.keys.values()).isdisjoint(book.revoked)


def test_an_answered_change_leaves_one_state_and_one_without_an_answer_leaves_two() -> None:
    states = after("move#1 move#2 move#3").book.states
    assert states.keys() == EXPERIMENTS.keys()
    assert all(len(possible) == 1 for possible in states.values())


def test_the_clock_jumps_and_the_process_starts_anew() -> None:
    world = after("jump#1 restart#2 kill#3")
    # To begin with, after the restart, after the kill, and once more at the end of every schedule.
    assert (world.starts, world.crashes) == (4, 1)


@pytest.mark.parametrize("operations", [OPERATIONS, REPORTING], ids=["usual", "reporting"])
def test_operations_have_names_of_their_own_and_each_may_occur(
    operations: tuple[Operation, ...],
) -> None:
    assert len({operation.name for operation in operations}) == len(operations)
    assert all(operation.weight > 0 for operation in operations)
    assert repr(replace(operations[0], name="mine")) == "mine"
