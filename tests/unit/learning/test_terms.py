from __future__ import annotations

import pytest
from tests.unit.learning.world import TENANT, experiment, pack

from loopwright.core.decision import Decision, Mode
from loopwright.learning.tally import Reason, Tally
from loopwright.learning.terms import Terms


def decision(arm: str = "a", mode: Mode = "live", vector: bytes | None = None) -> Decision:
    return Decision("d", TENANT, "greeting", arm, 0.5, 0, 0, mode, vector=vector)


@pytest.mark.parametrize(
    ("made", "metric", "reason"),
    [
        (decision(vector=pack(1.0, 2.0)), "reward", None),
        (decision(mode="holdout", vector=pack(1.0, 2.0)), "reward", "mode"),
        (decision(vector=pack(1.0, 2.0)), "other", "metric"),
        (decision("gone", vector=pack(1.0, 2.0)), "reward", "arm"),
        (decision(vector=pack(1.0)), "reward", "context"),
        (decision(), "reward", "context"),
    ],
)
def test_a_fact_that_cannot_teach_has_its_reason(
    made: Decision, metric: str, reason: Reason | None
) -> None:
    terms = Terms(experiment(policy="LinUCB", type="bounded", context=2, metric="reward"), Tally())
    assert terms.reason(made, metric) == reason


def test_values_that_add_up_earn_the_reward_of_their_sum() -> None:
    terms = Terms(experiment(type="bounded", duplicates="add"), Tally())
    assert terms.reward((0.25,)) == 0.25
    assert terms.reward((0.25, 0.5)) == 0.75


def test_a_value_that_earns_no_reward_is_counted() -> None:
    tally = Tally()
    assert Terms(experiment(type="bounded"), tally).reward((float("nan"),)) is None
    assert tally.skipped == {"reward": 1}
