from __future__ import annotations

import pytest
from tests.unit.learning.world import TENANT, World, experiment, settle

from loopwright.learning import replay
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.trainer import Trainer

KEY = (TENANT, "greeting")
OTHER = (TENANT, "other")


def untaught(of: World, key: tuple[str, str] = KEY) -> bytes:
    """Return what an experiment is before any fact."""
    trainer = Trainer(of.catalog[key], EmptyShelf())
    return trainer.dump() + trainer.tally.dump()


def test_an_empty_log_has_no_experiments_and_a_draft_has_learned_nothing() -> None:
    world = World()
    assert replay(world.reader) == {}
    world.change(experiment(state="draft"))
    world.reward(world.decision("a"), 1.0)
    assert replay(world.reader) == {}
    world.close()


def test_facts_from_before_an_experiment_began_teach_it_nothing() -> None:
    world = World(experiment(state="draft"))
    world.reward(world.decide("a"), 1.0)
    world.change(experiment())
    assert replay(world.reader) == {KEY: untaught(world)}
    world.close()


def test_an_adoption_makes_the_facts_before_it_count_even_beyond_the_end_of_the_reading() -> None:
    world = World()
    rewarded = world.reward(world.decision("a"), 1.0)
    world.change(experiment(), adopted=True)
    whole = replay(world.reader)[KEY]
    assert replay(world.reader, through=rewarded)[KEY] == whole != untaught(world)
    world.close()


@pytest.mark.parametrize("through", [1, 3, 5])
def test_through_an_offset_it_is_what_a_learner_was_there(through: int) -> None:
    world = World(experiment())
    learner = settle(world.learner())
    then = {1: learner.dump(TENANT, "greeting")}
    for value in (1.0, 0.0):
        offset = world.reward(world.decide("a"), value)
        then[offset] = settle(learner).dump(TENANT, "greeting")
    assert replay(world.reader, through=through)[KEY] == then[through]
    world.close()


def test_each_experiment_may_be_read_to_an_offset_of_its_own() -> None:
    world = World(experiment(), experiment("other"))
    first = world.reward(world.decide("a"), 1.0)
    last = world.reward(world.decide("b", id="other"), 1.0)
    found = replay(world.reader, through={KEY: first - 1, OTHER: last})
    assert found[OTHER] == replay(world.reader)[OTHER] != untaught(world, OTHER)
    assert found[KEY] == replay(world.reader, through=first - 1)[KEY]
    world.close()


def test_a_paused_experiment_is_read_to_its_pause() -> None:
    world = World(experiment())
    world.reward(world.decide("a"), 1.0)
    world.change(experiment(state="paused"))
    before = replay(world.reader)[KEY]
    world.reward(world.decide("a"), 0.0)
    assert replay(world.reader)[KEY] == before
    world.change(experiment())
    assert replay(world.reader)[KEY] != before
    world.close()
