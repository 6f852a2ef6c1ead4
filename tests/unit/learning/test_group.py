from __future__ import annotations

import pytest
from tests.unit.learning.world import experiment

from loopwright.core.experiment import Caps
from loopwright.core.reward import RewardSpec
from loopwright.learning.group import Group, needs_memory


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        (RewardSpec(), False),
        (RewardSpec(duplicates="latest"), True),
        (RewardSpec(window_s=60.0, default=0.0), True),
    ],
)
def test_memory_is_needed_where_a_reward_may_still_change(spec: RewardSpec, needed: bool) -> None:
    assert needs_memory(spec) is needed


def test_a_group_keeps_the_order_of_facts_only_where_it_matters() -> None:
    assert Group.of(experiment()).traced is None
    assert Group.of(experiment(window_s=60.0, default=0.0)).traced == []


def test_caps_alone_make_the_order_matter() -> None:
    group = Group.of(experiment(caps=Caps(per_person=1)))
    assert (group.capped, group.traced) == (True, [])
