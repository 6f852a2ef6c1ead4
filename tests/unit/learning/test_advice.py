from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.core.experiment import Arm, Experiment
from loopwright.core.reward import RewardSpec
from loopwright.core.status import Advice, ArmStatus, RewardPart, Status
from loopwright.learning.advice import advise


def experiment(**reward: Any) -> Experiment:
    return Experiment(
        id="greeting",
        tenant_id="acme",
        state="running",
        arms=(Arm(id="a"), Arm(id="b")),
        reward=RewardSpec(**reward),
    )


def part(
    n: int = 500, low: float = 0.0, high: float = 1.0, *, mean: float = 0.5, sd: float = 0.3
) -> RewardPart:
    return RewardPart(n=n, minimum=low, maximum=high, mean=mean, sd=sd)


HEALTHY = Status(
    tenant_id="acme",
    experiment_id="greeting",
    state="running",
    policy="BetaThompson",
    arms=(
        ArmStatus(arm_id="a", state="enabled", n=600),
        ArmStatus(arm_id="b", state="enabled", n=400),
    ),
    decisions=4000,
    feedback=1000,
    snapshot=5000,
    head=5000,
    whole=1000,
    earlier=part(),
    later=part(),
)


def but(**changes: Any) -> Status:
    return msgspec.structs.replace(HEALTHY, **changes)


def only(status: Status, about: Experiment | None = None) -> Advice:
    said = advise(status, about or experiment())
    assert len(said) == 1, [advice.code for advice in said]
    return said[0]


def test_a_healthy_experiment_gets_no_advice():
    assert advise(HEALTHY, experiment()) == []


def test_an_experiment_without_any_data_gets_no_advice():
    fresh = Status(
        tenant_id="acme",
        experiment_id="greeting",
        state="draft",
        policy="BetaThompson",
        arms=(ArmStatus(arm_id="a", state="enabled"), ArmStatus(arm_id="b", state="enabled")),
    )
    assert advise(fresh, experiment()) == []


def test_a_feedback_rate_under_five_percent_is_named_with_its_figure():
    said = only(but(feedback=120))
    assert said.code == "feedback_rate_low"
    assert "3.0% of 4000 decisions" in said.sentence
    assert said.figures == {"rate": 0.03, "decisions": 4000, "feedback": 120}


@pytest.mark.parametrize(("decisions", "feedback"), [(4000, 200), (199, 0)])
def test_five_percent_or_too_few_decisions_raise_no_alarm(decisions: int, feedback: int):
    assert advise(but(decisions=decisions, feedback=feedback), experiment()) == []


def test_a_low_rate_under_a_window_says_that_the_default_decides():
    said = only(but(feedback=40), experiment(window_s=1800, default=0))
    assert "after 1800 s" in said.sentence


def test_rewards_that_are_never_low_are_pointed_out():
    said = only(but(earlier=part(low=1.0, mean=1.0, sd=0), later=part(low=1.0, mean=1.0, sd=0)))
    assert said.code == "no_negative_signals"
    assert "None of 1000 rewards is below 1" in said.sentence
    assert said.figures["minimum"] == 1.0


def test_a_low_default_at_the_end_of_the_window_is_a_negative_signal():
    praise = but(earlier=part(low=1.0, mean=1.0, sd=0), later=None, whole=500)
    assert only(praise, experiment()).code == "no_negative_signals"
    assert advise(praise, experiment(window_s=60, default=0)) == []


def test_a_continuous_reward_that_never_varies_is_pointed_out():
    flat = but(earlier=part(low=7, high=7, mean=7, sd=0), later=None, whole=0)
    assert only(flat, experiment(type="continuous")).code == "no_negative_signals"


def test_continuous_rewards_above_zero_that_vary_are_fine():
    varied = part(low=3, high=9, mean=6, sd=1)
    assert advise(but(earlier=varied, later=varied, whole=0), experiment(type="continuous")) == []


@pytest.mark.parametrize(
    "later",
    [part(low=0, high=100, mean=50, sd=30), part(low=10, high=11, mean=10.5, sd=0.2)],
    ids=["another unit", "another origin"],
)
def test_a_reward_scale_that_changes_midway_is_named_with_both_ranges(later: RewardPart):
    said = only(but(later=later, whole=0), experiment(type="continuous"))
    assert said.code == "reward_scale_changed"
    assert "from 0 to 1" in said.sentence
    assert f"to {later.maximum:g}" in said.sentence
    assert said.figures["later_mean"] == later.mean


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (part(mean=0.02, sd=0.14), part(mean=0.9, sd=0.3)),
        (part(high=0, mean=0, sd=0), part(mean=0.9, sd=0.3)),
        (part(mean=0.5, sd=0.3), part(low=0.9, mean=0.97, sd=0.02)),
        (part(high=10, mean=0.1, sd=0.5), part(high=60, mean=0.15, sd=0.9)),
        (part(n=29), part(high=100, mean=50, sd=30)),
    ],
    ids=["it learned", "a cold start", "it settled", "a rare big one", "too few"],
)
def test_learning_and_chance_are_no_change_of_scale(earlier: RewardPart, later: RewardPart):
    status = but(earlier=earlier, later=later, whole=0)
    assert advise(status, experiment(type="continuous")) == []


def test_a_bounded_reward_that_is_only_ever_0_or_1_should_be_binary():
    said = only(but(policy="GaussianThompson"), experiment(type="bounded"))
    assert said.code == "reward_looks_binary"
    assert "All 1000 rewards are 0 or 1" in said.sentence
    assert advise(but(whole=999), experiment(type="bounded")) == []


def test_a_binary_reward_under_a_continuous_policy_gets_a_better_one_suggested():
    said = only(but(policy="GaussianThompson"))
    assert said.code == "policy_mismatch"
    assert said.figures == {"policy": "GaussianThompson", "n": 1000, "suggested": "BetaThompson"}
    assert "1000 rewards" in said.sentence


@pytest.mark.parametrize(("clipped", "severity"), [(200, "warning"), (3, "info")])
def test_clipped_rewards_are_counted_and_weighed(clipped: int, severity: str):
    said = only(but(clipped=clipped, whole=0), experiment(type="bounded", out_of_range="clip"))
    assert (said.code, said.severity) == ("rewards_clipped", severity)
    assert f"{clipped} rewards ({clipped / 1000:.1%})" in said.sentence
    assert "0 to 1" in said.sentence


def test_clipped_rewards_before_any_part_is_known_do_not_divide_by_zero():
    said = only(
        but(clipped=2, earlier=None, later=None), experiment(type="bounded", out_of_range="clip")
    )
    assert said.figures["share"] == 1.0


def test_arms_that_earn_next_to_nothing_are_named():
    arms = (
        ArmStatus(arm_id="a", state="enabled", n=990),
        ArmStatus(arm_id="b", state="enabled", n=4),
    )
    said = only(but(arms=arms))
    assert said.code == "arms_starving"
    assert "'b' (4)" in said.sentence
    assert "explore_floor (now 0.01)" in said.sentence


def test_a_disabled_arm_may_starve():
    arms = (
        ArmStatus(arm_id="a", state="enabled", n=990),
        ArmStatus(arm_id="b", state="disabled", n=4),
    )
    assert advise(but(arms=arms), experiment()) == []


def test_arms_are_not_starving_before_there_is_enough_to_share():
    arms = (
        ArmStatus(arm_id="a", state="enabled", n=150),
        ArmStatus(arm_id="b", state="enabled", n=4),
    )
    assert advise(but(arms=arms), experiment()) == []


def test_dropped_decision_rows_are_counted():
    said = only(but(shed=17))
    assert said.code == "decisions_shed"
    assert said.sentence.startswith("17 decision rows")


def test_a_degraded_learner_comes_first_with_its_reason():
    said = advise(but(learner="degraded", reason="arm b has a mean of NaN", shed=1), experiment())
    assert [advice.code for advice in said] == ["learner_degraded", "decisions_shed"]
    assert said[0].severity == "critical"
    assert "arm b has a mean of NaN" in said[0].sentence
    assert "offset 5000" in said[0].sentence


def test_advice_names_the_metric_that_rewards_should_have_carried():
    learns = experiment(metric="resolved")
    status = Status(
        tenant_id="default",
        experiment_id="greeting",
        state="running",
        policy="BetaThompson",
        arms=(),
        feedback=2,
        skipped={"metric": 3},
    )
    (said,) = [advice for advice in advise(status, learns) if advice.code == "foreign_metric"]
    assert said.severity == "warning"
    assert "Send the metric 'resolved'" in said.sentence
    few = msgspec.structs.replace(status, feedback=3)
    assert not [advice for advice in advise(few, learns) if advice.code == "foreign_metric"]
