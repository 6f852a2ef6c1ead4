from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.trust.policy import ROLES, TrustPolicy


def test_rules_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"least weight 4\.0 exceeds most weight 3\.0"):
        TrustPolicy(least=4.0)
    with pytest.raises(ValueError, match="no better than chance"):
        TrustPolicy(prior_right=1.0, prior_wrong=1.0)
    assert TrustPolicy(prior_right=1.0, prior_wrong=1.0, chance=0.25).chance == 0.25


@pytest.mark.parametrize(
    "wrong",
    [{"half_life_days": 0}, {"per_user": 0}, {"chance": 1}, {"burst_tail": 0.5}, {"burst_slack": 0.9},
     {"roles": {"end_user": 0}}, {"keep": "best"}, {"verson": 3}],
)  # fmt: skip
def test_a_rule_outside_its_bounds_or_with_a_wrong_name_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, TrustPolicy)


def test_changing_the_roles_of_one_policy_leaves_those_of_the_next_alone() -> None:
    TrustPolicy().roles["end_user"] = 9.0
    assert TrustPolicy().roles == ROLES
    assert ROLES["end_user"] == 1.0
