from __future__ import annotations

import pytest

from loopwright.catalog.rules import amended, difference, extended, moved
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict
from loopwright.core.experiment import Arm, Experiment

DRAFT = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"), Arm(id="b")))


def test_a_change_names_the_fields_that_differ() -> None:
    after = amended(DRAFT, Amendment(name="Greeting", explore_floor=0.05))
    assert sorted(difference(DRAFT, after)) == ["explore_floor", "name"]


def test_a_change_leaves_what_it_does_not_name() -> None:
    after = amended(DRAFT, Amendment(arms={"b": ArmChange(state="disabled")}))
    assert after.arms[0] == DRAFT.arms[0]
    assert after.arms[1].state == "disabled"


def test_a_new_arm_takes_the_last_position() -> None:
    assert [arm.id for arm in extended(DRAFT, Arm(id="c")).arms] == ["a", "b", "c"]


def test_an_ended_experiment_never_moves_again() -> None:
    ended = moved(DRAFT, "end")
    with pytest.raises(Conflict):
        moved(ended, "start")
