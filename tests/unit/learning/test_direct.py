from __future__ import annotations

from tests.unit.learning.world import TENANT, experiment

from loopwright.core.decision import Decision
from loopwright.core.events import Received
from loopwright.core.feedback import Outcome
from loopwright.learning.direct import Direct
from loopwright.learning.rows import Joined
from loopwright.learning.tally import Tally
from loopwright.learning.terms import Terms


def received(arm: str, value: float) -> Received:
    made = Decision("d", TENANT, "greeting", arm, 0.5, 0, 7)
    return Received("e", 9, made, Outcome("reward", value))


def test_each_fact_becomes_a_row() -> None:
    joined, tally = Joined(), Tally()
    direct = Direct(Terms(experiment(type="bounded", metric="reward"), tally))
    direct.join([received("b", 0.25), received("a", 1.0)], joined)
    assert (joined.plus.arms, joined.plus.rewards) == ([1, 0], [0.25, 1.0])
    assert (joined.times, joined.values) == ([7, 7], [0.25, 1.0])
    assert len(joined.minus) == 0
    assert tally.feedback == 2


def test_facts_that_cannot_teach_leave_the_others_in_their_order() -> None:
    joined, tally = Joined(), Tally()
    direct = Direct(Terms(experiment(type="bounded", metric="reward"), tally))
    facts = [
        received("b", 0.25),
        received("gone", 1.0),
        received("a", float("nan")),
        received("c", 0.5),
    ]
    direct.join(facts, joined)
    assert (joined.plus.arms, joined.plus.rewards) == ([1, 2], [0.25, 0.5])
    assert tally.skipped == {"arm": 1, "reward": 1}
