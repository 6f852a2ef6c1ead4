from __future__ import annotations

import pytest
from tests.unit.learning.world import TENANT, experiment

from loopwright.core.decision import Decision
from loopwright.core.events import Received
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Outcome
from loopwright.learning.memory import Memory, Remembered, Spent
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.revising import At, Revising
from loopwright.learning.rows import Joined
from loopwright.learning.tally import Tally
from loopwright.learning.terms import Terms


def revising(on: Experiment) -> Revising:
    shelf = EmptyShelf()
    return Revising(on, Terms(on, Tally()), Memory(shelf), spent=Spent(shelf))


def received(value: float) -> Received:
    made = Decision("d", TENANT, "greeting", "a", 0.5, 0, 0)
    return Received("e", 0, made, Outcome("reward", value))


def test_a_later_value_takes_out_exactly_the_row_that_the_earlier_one_put_in() -> None:
    joined = Joined()
    revised = revising(experiment(type="bounded", metric="reward", duplicates="latest"))
    revised.join([(1, 0, received(0.25), None), (2, 0, received(0.75), None)], joined, sealed=0)
    assert joined.plus.rewards == [0.25, 0.75]
    assert joined.minus.rewards == [0.25]


@pytest.mark.parametrize(("offset", "sealed"), [(0, False), (4, True), (5, False), (6, False)])
def test_only_what_was_taught_before_the_rollback_is_sealed(offset: int, sealed: bool) -> None:
    known = Remembered(0, 1.0, None, 0, offset=offset)
    assert At(9, 0, 5).is_sealed(known) is sealed
