"""What the facts of an experiment's life say of where it reads from and how far."""

from __future__ import annotations

import pytest
from tests.unit.learning.world import experiment

from loopwright.core.events import ExperimentChanged
from loopwright.core.experiment import ExperimentState
from loopwright.learning.control import Control, controlled


def told(*states: ExperimentState, adopted: bool = False, stands_at: int | None = None) -> Control:
    """Return what is known after facts at offsets 10, 20, …; the first alone may be an adoption."""
    known = None
    for place, state in enumerate(states):
        is_adoption = adopted and place == 0
        fact = ExperimentChanged(
            f"e{place}",
            0,
            experiment(state=state),
            adopted=is_adoption,
            stands_at=stands_at if is_adoption else None,
        )
        known = controlled(known, fact, 10 * (place + 1))
    assert known is not None
    return known


def test_a_draft_that_never_ran_has_neither_a_beginning_nor_an_end() -> None:
    assert (told("draft", "draft").born, told("draft", "draft").goal) == (None, None)


@pytest.mark.parametrize("state", ["paused", "ended"])
def test_what_is_paused_or_ended_before_it_ever_ran_learns_nothing(state: ExperimentState) -> None:
    found = told("draft", state)
    assert (found.born, found.goal, found.experiment.state) == (None, None, state)


def test_it_learns_from_the_fact_that_first_started_it_whatever_comes_later() -> None:
    assert told("draft", "running").born == 20
    assert told("draft", "running", "paused", "running", "running").born == 20


def test_a_pause_is_the_offset_of_its_fact_and_a_resumption_takes_it_away() -> None:
    assert told("running", "paused").goal == 20
    assert told("running", "paused", "running").goal is None


def test_one_that_stands_already_stays_where_it_is() -> None:
    """An arm disabled during a pause, and the end of a paused experiment, read no fact more."""
    assert told("running", "paused", "paused", "ended").goal == 20


def test_one_that_was_catching_up_goes_on_to_the_fact_that_stops_it_again() -> None:
    assert told("running", "paused", "running", "paused").goal == 40


def test_an_adopted_experiment_learns_from_the_beginning_of_the_log() -> None:
    assert (told("running", adopted=True).born, told("running", adopted=True).goal) == (0, None)


@pytest.mark.parametrize(("stands_at", "goal"), [(None, 10), (0, 0), (7, 7)])
def test_an_adopted_one_that_was_paused_stands_where_its_old_learner_had_stopped(
    stands_at: int | None, goal: int
) -> None:
    found = told("paused", adopted=True, stands_at=stands_at)
    assert (found.born, found.goal) == (0, goal)
