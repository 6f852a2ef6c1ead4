from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.clock import DAY_MS
from loopwright.core.gate import Gate, Guardrail, Primary, Safety, Verdict
from loopwright.rollout.gates import Evidence, Side, judge
from loopwright.stats.sequential import Moments, moments


def rate(hits: int, of: int) -> Moments:
    return Moments(n=of, y=hits, yy=hits)


def evidence(champion: Moments, challenger: Moments, *, metric: str = "reward") -> Evidence:
    return Evidence(
        champion=Side(units=champion.n, metrics={metric: champion}),
        challenger=Side(units=challenger.n, metrics={metric: challenger}),
    )


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {found.criterion: found.outcome for found in verdict.findings}


def test_a_clear_winner_passes_with_every_reason_told():
    verdict = judge(Gate(), evidence(rate(300, 3000), rate(480, 3000)))
    assert verdict.outcome == "pass"
    assert outcomes(verdict) == {
        "sample_ratio": "pass",
        "least_units": "pass",
        "primary/reward": "pass",
    }
    assert any("reward: +0.06 against the champion" in reason for reason in verdict.reasons)


def test_a_small_difference_waits_and_says_how_many_units_it_takes():
    verdict = judge(Gate(), evidence(rate(100, 1000), rate(120, 1000)))
    assert verdict.outcome == "wait"
    assert verdict.more_units is not None
    assert 500 < verdict.more_units < 20_000


def test_a_metric_that_nobody_sends_waits_and_says_so():
    verdict = judge(Gate(primary=Primary(metric="sales")), evidence(rate(1, 200), rate(1, 200)))
    assert verdict.outcome == "wait"
    assert verdict.reasons == (
        "sales: no value on the champion and the challenger; is this metric sent?",
    )
    assert verdict.more_units is None


def test_below_the_least_units_nothing_passes():
    seen = evidence(rate(0, 50), rate(50, 50))
    assert judge(Gate(least_units=100), seen).outcome == "wait"
    assert judge(Gate(least_units=50), seen).outcome == "pass"


def test_a_lower_is_better_metric_is_judged_the_other_way_round():
    rng = np.random.default_rng(1)
    slow, fast = rng.normal(200, 20, 500), rng.normal(180, 20, 500)
    gate = Gate(primary=Primary(metric="latency", better="lower"))
    verdict = judge(gate, evidence(moments(slow), moments(fast), metric="latency"))
    assert verdict.outcome == "pass"
    (found,) = [f for f in verdict.findings if f.criterion == "primary/latency"]
    assert found.figures["estimate"] == pytest.approx(-20, abs=4)
    assert found.figures["high"] is not None
    assert found.figures["high"] < 0
    assert judge(gate, evidence(moments(fast), moments(slow), metric="latency")).outcome == "wait"


def test_a_guardrail_shows_harm_before_there_are_enough_units():
    gate = Gate(
        primary=None, guardrails=(Guardrail(metric="reward", margin=0.02),), least_units=5000
    )
    verdict = judge(gate, evidence(rate(500, 1000), rate(300, 1000)))
    assert verdict.outcome == "fail"
    assert verdict.is_harmful
    assert "worse by more than the margin" in verdict.reasons[0]


def test_a_guardrail_passes_only_once_the_margin_is_shown_to_hold():
    gate = Gate(primary=None, guardrails=(Guardrail(metric="reward", margin=0.05),))
    assert judge(gate, evidence(rate(100, 200), rate(100, 200))).outcome == "wait"
    assert judge(gate, evidence(rate(5000, 10_000), rate(5000, 10_000))).outcome == "pass"


def test_what_a_scanner_finds_stops_it_however_much_people_like_it():
    seen = Evidence(
        champion=Side(units=3000, metrics={"reward": rate(300, 3000)}),
        challenger=Side(
            units=3000, metrics={"reward": rate(900, 3000)}, findings={"leaks_secret": 1}
        ),
    )
    verdict = judge(Gate(safety=(Safety(metric="leaks_secret"),)), seen)
    assert (verdict.outcome, verdict.is_harmful) == ("fail", True)
    assert verdict.reasons == ("leaks_secret: 1 found on the challenger, at most 0 allowed",)


def test_units_that_got_lost_on_one_arm_fail_the_gate():
    verdict = judge(Gate(), evidence(rate(300, 3000), rate(400, 2500)))
    assert outcomes(verdict)["sample_ratio"] == "fail"
    assert not verdict.is_harmful


def test_units_that_met_both_arms_fail_the_gate_when_they_are_many():
    seen = evidence(rate(300, 3000), rate(480, 3000))
    few = Evidence(champion=seen.champion, challenger=seen.challenger, mixed=3)
    many = Evidence(champion=seen.champion, challenger=seen.challenger, mixed=300)
    assert judge(Gate(), few).outcome == "pass"
    assert "make the assignment sticky" in judge(Gate(), many).reasons[0]


def test_the_suite_must_have_been_passed():
    seen = evidence(rate(300, 3000), rate(480, 3000))
    gate = Gate(suite="sql")
    for suites, expected in ({}, "wait"), ({"sql": True}, "pass"), ({"sql": False}, "fail"):
        told = Evidence(champion=seen.champion, challenger=seen.challenger, suites=suites)
        assert judge(gate, told).outcome == expected


def test_whole_weeks_are_waited_for():
    seen = evidence(rate(300, 3000), rate(480, 3000))
    for days, expected in (6, "wait"), (7, "pass"):
        told = Evidence(
            champion=seen.champion, challenger=seen.challenger, first_ms=0, last_ms=days * DAY_MS
        )
        assert judge(Gate(whole_weeks=1), told).outcome == expected


def test_a_challenger_that_shows_nothing_fails_at_the_most_units():
    verdict = judge(Gate(most_units=2000), evidence(rate(100, 1000), rate(101, 1000)))
    assert verdict.outcome == "fail"
    assert verdict.reasons == ("2000 units are in, of at most 2000, and the gate has not passed",)


def test_more_candidates_ask_for_more_evidence():
    seen = evidence(rate(300, 3000), rate(385, 3000))
    assert judge(Gate(), seen).outcome == "pass"
    assert judge(Gate(candidates=50), seen).outcome == "wait"


def test_nothing_seen_waits():
    assert judge(Gate(), Evidence()).outcome == "wait"
