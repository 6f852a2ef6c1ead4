from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from loopwright.testing.simulation import (
    INVARIANTS,
    Invariant,
    Operation,
    Schedule,
    Simulation,
    Violated,
    World,
)
from loopwright.testing.simulation.world import Sent


def test_invariants_of_others_are_checked_after_each_restart() -> None:
    checked: list[int] = []

    def count(world: World) -> None:
        checked.append(world.starts)

    with Simulation(invariants=[Invariant("count", count)]) as simulation:
        assert simulation.run(Schedule.read("seed=1 restlessness=0.0 select#1 restart#2")) is None
    assert checked == [2, 2, 3]


def lie_about(tell: Callable[[World], object]) -> Simulation:
    """A simulation in which clients can be told what is not so."""

    def lie(world: World, rng: random.Random) -> None:
        tell(world)

    return Simulation(operations=[Operation("lie", lie, by="controller")])


def feedback_that_never_was(world: World) -> None:
    world.book.sent["f0"] = Sent("f0", "plain", "d0", "a", 1.0, "r0", is_acknowledged=True)


def a_report_that_never_was(world: World) -> None:
    world.book.reported["t0"] = "user-1"


def a_revocation_of_a_key_in_use(world: World) -> None:
    issued = world.parts.catalog.keys.create("default", ["select"], name="client")
    world.book.revoked.append(issued.secret)


def a_pause_that_never_was(world: World) -> None:
    world.book.states["plain"] = {"paused"}


@pytest.mark.parametrize(
    ("tell", "invariant"),
    [
        (feedback_that_never_was, "acknowledged = stored once"),
        (a_report_that_never_was, "acknowledged = stored once"),
        (a_revocation_of_a_key_in_use, "revoked = refused"),
        (a_pause_that_never_was, "changes hold"),
    ],
)
def test_a_promise_that_is_not_kept_is_found_by_its_name(
    tell: Callable[[World], object], invariant: str
) -> None:
    def as_client(world: World) -> None:
        world.call(lambda: tell(world))

    with lie_about(as_client) as simulation:
        found = simulation.run(Schedule.read("seed=1 restlessness=0.0 lie#1"))
    assert isinstance(found, Violated)
    assert found.invariant == invariant


def test_each_invariant_has_a_name_of_its_own() -> None:
    names = [invariant.name for invariant in INVARIANTS]
    assert len(set(names)) == len(names)
    assert repr(Invariant("one", lambda world: None)) == "'one'"
