from __future__ import annotations

import math
import random
import struct
from collections import Counter
from typing import Any

import msgspec
import pytest

from loopwright.core.context import Context
from loopwright.core.decision import Decision
from loopwright.core.errors import (
    ContextInvalid,
    ExperimentClosed,
    Invalid,
    LoopError,
    MaskEmpty,
    NoArms,
    NotFound,
)
from loopwright.core.events import Decided
from loopwright.core.experiment import Arm, ContextSpec, Experiment, PolicyChoice
from loopwright.core.ids import Ids, time_of
from loopwright.core.targeting import Condition, Fixed, Rule, Targeting
from loopwright.core.token import Signer
from loopwright.people.units import Units
from loopwright.policies import Allocation, Problem, Published, Snapshots, make
from loopwright.serving import Selection, Selector, SelectRequest
from loopwright.testing import ManualClock

UNITS = Units(lambda tenant_id: bytes(32))


class Bench:
    """A selector over one published experiment, and the decisions it offered."""

    def __init__(self, experiment: Experiment, *, policy: str, keeps: bool = True) -> None:
        self.clock = ManualClock()
        self.offered: list[Decision] = []
        self.keeps = keeps
        self.snapshots = Snapshots()
        self.signer = Signer({1: bytes(range(32))}, active=1)
        self.experiments = {(experiment.tenant_id, experiment.id): experiment}
        self.selector = Selector(
            self.snapshots,
            self.signer,
            offer=self._offer,
            find=self._find,
            clock=self.clock,
            ids=Ids(self.clock, random.Random(1)),
            rng=random.Random(2),
            names=UNITS,
        )
        self.publish(experiment, policy=policy)

    def publish(self, experiment: Experiment, *, policy: str, offset: int = 7) -> None:
        chosen = make(policy, {})
        dimension = 1 if experiment.context is None else experiment.context.dimension + 1
        problem = Problem(
            arms=tuple(arm.id for arm in experiment.arms),
            dimension=dimension,
            low=0.0,
            high=1.0,
            reward_type="binary",
        )
        allocation = Allocation.of(experiment)
        served = chosen.prepare(problem, chosen.empty(problem), allocation)
        self.experiments[experiment.tenant_id, experiment.id] = experiment
        self.snapshots.publish(Published(experiment, served, offset))

    def _offer(self, fact: Decided) -> bool:
        self.offered.append(fact.decision)
        return self.keeps

    def _find(self, tenant_id: str, experiment_id: str) -> Experiment:
        try:
            return self.experiments[tenant_id, experiment_id]
        except KeyError:
            raise NotFound("no such experiment") from None


def greeting(**changes: Any) -> Experiment:
    shape: dict[str, Any] = {
        "id": "greeting",
        "tenant_id": "acme",
        "state": "running",
        "arms": (Arm(id="warm", payload={"text": "Hi!"}), Arm(id="dry"), Arm(id="long")),
    }
    return Experiment(**{**shape, **changes})


def test_the_answer_names_the_arm_its_odds_and_the_snapshot() -> None:
    bench = Bench(greeting(), policy="Uniform")
    chosen = bench.selector.select("acme", "greeting", context=Context(id="user-1"))
    assert chosen.arm.id in {"warm", "dry", "long"}
    assert chosen.propensity == pytest.approx(1 / 3)
    assert chosen.snapshot == 7
    assert time_of(chosen.decision_id) == bench.clock.now_ms()


def test_the_token_carries_the_very_decision_that_is_logged() -> None:
    bench = Bench(greeting(), policy="Uniform")
    context = Context(id="user-1", vector=[0.1, -2.5], metadata={"plan": "pro"})
    chosen = bench.selector.select("acme", "greeting", context=context, unit_id="account-9")
    decision = bench.signer.verify(chosen.request_id, now_ms=bench.clock.now_ms())
    assert bench.offered == [decision]
    assert decision.context_id == UNITS.name("acme", "user-1")
    assert decision.unit_id == UNITS.name("acme", "account-9")
    assert decision.metadata == {"plan": "pro"}
    assert decision.vector == struct.pack("<2d", 0.1, -2.5)


def test_a_shed_decision_still_gets_its_token() -> None:
    bench = Bench(greeting(), policy="Uniform", keeps=False)
    chosen = bench.selector.select("acme", "greeting")
    assert bench.signer.verify(chosen.request_id, now_ms=0).id == chosen.decision_id


def test_a_mask_confines_the_choice_and_the_odds_follow() -> None:
    bench = Bench(greeting(), policy="Uniform")
    chosen = [bench.selector.select("acme", "greeting", mask=["dry", "long"]) for _ in range(50)]
    assert {c.arm.id for c in chosen} == {"dry", "long"}
    assert {c.propensity for c in chosen} == {0.5}


def test_a_new_snapshot_is_served_from_the_next_select_on() -> None:
    bench = Bench(greeting(), policy="Uniform")
    assert bench.selector.select("acme", "greeting").snapshot == 7
    arms = (*greeting().arms[:2], Arm(id="long", state="disabled"))
    bench.publish(greeting(arms=arms), policy="Uniform", offset=8)
    after = [bench.selector.select("acme", "greeting") for _ in range(50)]
    assert {c.snapshot for c in after} == {8}
    assert {c.arm.id for c in after} == {"warm", "dry"}


def test_the_observed_shares_match_the_reported_odds() -> None:
    bench = Bench(greeting(), policy="EpsilonGreedy")
    chosen = [bench.selector.select("acme", "greeting") for _ in range(4000)]
    odds = {c.arm.id: c.propensity for c in chosen}
    shares = {arm: n / 4000 for arm, n in Counter(c.arm.id for c in chosen).items()}
    for arm, p in odds.items():
        assert abs(shares[arm] - p) < 4 * (p * (1 - p) / 4000) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        (None, ContextInvalid),
        ([], ContextInvalid),
        ([1.0], ContextInvalid),
        ([1.0] * 10_000, ContextInvalid),
        ([1.0, float("nan"), 0.0], ContextInvalid),
        ([1.0, float("inf"), 0.0], ContextInvalid),
        ([1.0, 1e300, 0.0], ContextInvalid),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(
    vector: list[float] | None, error: type[LoopError]
) -> None:
    bench = Bench(greeting(context=ContextSpec(3)), policy="LinUCB")
    with pytest.raises(error):
        bench.selector.select("acme", "greeting", context=Context(vector=vector))
    assert bench.offered == []


@pytest.mark.parametrize("vector", [[], [0.0] * 1025, [float("nan")]])
def test_even_an_unused_vector_must_be_keepable(vector: list[float]) -> None:
    bench = Bench(greeting(), policy="Uniform")
    with pytest.raises(ContextInvalid):
        bench.selector.select("acme", "greeting", context=Context(vector=vector))


@pytest.mark.parametrize(("mask", "error"), [([], MaskEmpty), (["nope"], Invalid)])
def test_a_mask_that_makes_no_sense_is_refused(mask: list[str], error: type[LoopError]) -> None:
    bench = Bench(greeting(), policy="Uniform")
    with pytest.raises(error):
        bench.selector.select("acme", "greeting", mask=mask)


def test_a_mask_of_disabled_arms_only_leaves_nothing() -> None:
    arms = (Arm(id="warm"), Arm(id="dry", state="disabled"))
    bench = Bench(greeting(arms=arms), policy="Uniform")
    with pytest.raises((MaskEmpty, NoArms)):
        bench.selector.select("acme", "greeting", mask=["dry"])


def test_an_unknown_experiment_is_not_found() -> None:
    bench = Bench(greeting(), policy="Uniform")
    with pytest.raises(NotFound):
        bench.selector.select("acme", "nope")
    with pytest.raises(NotFound):
        bench.selector.select("rival", "greeting")


@pytest.mark.parametrize(
    ("state", "advice"),
    [("draft", "start it$"), ("paused", "resume it$"), ("ended", "create a new experiment")],
)
def test_only_a_running_experiment_selects_and_the_error_says_what_to_do(
    state: str, advice: str
) -> None:
    bench = Bench(greeting(), policy="Uniform")
    bench.publish(greeting(state=state), policy="Uniform")
    with pytest.raises(ExperimentClosed, match=f"is {state}.*{advice}"):
        bench.selector.select("acme", "greeting")
    bench.snapshots.withdraw("acme", "greeting")
    with pytest.raises(ExperimentClosed, match=f"is {state}.*{advice}"):
        bench.selector.select("acme", "greeting")


def test_a_context_too_large_for_a_token_is_refused_before_it_is_logged() -> None:
    bench = Bench(greeting(), policy="Uniform")
    with pytest.raises(Invalid, match="token"):
        bench.selector.select("acme", "greeting", context=Context(metadata={"text": "x" * 20_000}))
    assert bench.offered == []


def test_selects_are_counted_per_experiment() -> None:
    bench = Bench(greeting(policy=PolicyChoice("Uniform")), policy="Uniform")
    for _ in range(3):
        bench.selector.select("acme", "greeting")
    assert bench.selector.selected == {("acme", "greeting"): 3}


def gated(**shape: Any) -> Experiment:
    return greeting(targeting=Targeting(**shape))


def test_without_a_gate_a_decision_is_live_and_names_no_rule() -> None:
    for experiment in (greeting(), gated()):
        bench = Bench(experiment, policy="Uniform")
        chosen = bench.selector.select("acme", "greeting")
        assert (chosen.mode, chosen.rule) == ("live", None)
        assert (bench.offered[0].mode, bench.offered[0].rule) == ("live", None)


def test_what_the_gate_gave_is_certain_and_says_which_rule_gave_it() -> None:
    pro = Condition("metadata.plan", "eq", "pro")
    bench = Bench(gated(rules=(Rule("pro plan", (pro,), Fixed("dry")),)), policy="Uniform")
    chosen = bench.selector.select("acme", "greeting", context=Context(metadata={"plan": "pro"}))
    decision = bench.signer.verify(chosen.request_id, now_ms=bench.clock.now_ms())
    assert bench.offered == [decision]
    for told in (chosen, decision):
        assert (told.mode, told.rule, told.propensity) == ("fallback", "pro plan", 1.0)
    assert (chosen.arm.id, decision.arm_id) == ("dry", "dry")
    free = bench.selector.select("acme", "greeting", context=Context(metadata={"plan": "free"}))
    assert (free.mode, free.rule) == ("live", None)


def test_a_rollout_splits_units_into_live_and_holdout() -> None:
    bench = Bench(gated(percentage=30, default_arm="long"), policy="Uniform")
    chosen = [bench.selector.select("acme", "greeting", unit_id=f"u{n}") for n in range(2000)]
    held = [c for c in chosen if c.mode == "holdout"]
    assert abs(len(held) / 2000 - 0.7) < 4.5 * (0.21 / 2000) ** 0.5
    assert {(c.arm.id, c.propensity, c.rule) for c in held} == {("long", 1.0, "rollout")}
    live = [c for c in chosen if c.mode == "live"]
    assert {c.arm.id for c in live} == {"warm", "dry", "long"}
    assert {round(c.propensity, 9) for c in live} == {round(1 / 3, 9)}


def test_the_schedule_opens_and_closes_by_the_clock() -> None:
    bench = Bench(greeting(), policy="Uniform")
    now_ms = bench.clock.now_ms()
    gate = Targeting(starts_at_ms=now_ms + 1000, ends_at_ms=now_ms + 2000, default_arm="dry")
    bench.publish(greeting(targeting=gate), policy="Uniform")
    modes = []
    for _ in range(3):
        modes.append(bench.selector.select("acme", "greeting").mode)
        bench.clock.advance(seconds=1)
    assert modes == ["fallback", "live", "fallback"]


def test_a_sticky_unit_keeps_its_arm_and_units_share_by_the_odds() -> None:
    bench = Bench(gated(sticky=True), policy="Uniform")
    first = {
        f"u{n}": bench.selector.select("acme", "greeting", unit_id=f"u{n}") for n in range(999)
    }
    again = {unit: bench.selector.select("acme", "greeting", unit_id=unit) for unit in first}
    assert {u: c.arm.id for u, c in again.items()} == {u: c.arm.id for u, c in first.items()}
    assert {(c.mode, round(c.propensity, 9)) for c in again.values()} == {("live", round(1 / 3, 9))}
    for n in Counter(c.arm.id for c in first.values()).values():
        assert abs(n / 999 - 1 / 3) < 4.5 * (2 / 9 / 999) ** 0.5


def test_a_sticky_unit_moves_only_when_its_arm_is_not_allowed() -> None:
    bench = Bench(gated(sticky=True), policy="Uniform")
    for unit in (f"u{n}" for n in range(200)):
        whole = bench.selector.select("acme", "greeting", unit_id=unit)
        masked = bench.selector.select("acme", "greeting", unit_id=unit, mask=["dry", "long"])
        assert masked.propensity == 0.5
        assert whole.arm.id in ("warm", masked.arm.id)


def test_a_sticky_unit_with_contexts_keeps_its_arm_for_equal_contexts() -> None:
    shape = greeting(context=ContextSpec(2), targeting=Targeting(sticky=True))
    bench = Bench(shape, policy="LinThompson")
    context = Context(vector=[0.5, -1.0])
    for unit in ("ann", "bo", "cy"):
        chosen = [
            bench.selector.select("acme", "greeting", context=context, unit_id=unit)
            for _ in range(3)
        ]
        assert len({(c.arm.id, c.propensity) for c in chosen}) == 1


@pytest.mark.parametrize("shape", [{"sticky": True}, {"percentage": 5, "default_arm": "dry"}])
def test_a_gate_that_assigns_by_unit_refuses_a_request_without_one(shape: dict[str, Any]) -> None:
    bench = Bench(gated(**shape), policy="Uniform")
    with pytest.raises(Invalid, match="unit_id is missing"):
        bench.selector.select("acme", "greeting")
    assert bench.offered == []


def test_a_mask_without_the_arm_that_the_gate_gives_is_refused() -> None:
    bench = Bench(gated(percentage=0, default_arm="dry"), policy="Uniform")
    assert bench.selector.select("acme", "greeting", mask=["dry"]).arm.id == "dry"
    with pytest.raises(MaskEmpty, match=r"mask leaves out 'dry'.*'rollout'"):
        bench.selector.select("acme", "greeting", mask=["warm", "long"])


def test_a_changed_gate_holds_from_the_next_select_on() -> None:
    bench = Bench(gated(percentage=0, default_arm="dry"), policy="Uniform")
    assert bench.selector.select("acme", "greeting").mode == "holdout"
    bench.publish(greeting(), policy="Uniform")
    assert bench.selector.select("acme", "greeting").mode == "live"


def asked(*vectors: list[float] | None, **other: Any) -> list[SelectRequest]:
    return [SelectRequest("greeting", Context(vector=vector), **other) for vector in vectors]


def test_selects_answered_together_are_each_a_decision_of_their_own() -> None:
    bench = Bench(greeting(context=ContextSpec(dimension=2)), policy="LinThompson")
    first = bench.selector.select("acme", "greeting", context=Context(vector=[1.0, 0.0]))
    assert ("acme", "greeting") in bench.selector.together
    answers = bench.selector.select_many("acme", "greeting", asked([1.0, 0.0], [0.0, 1.0]))
    assert [type(answer) for answer in answers] == [Selection, Selection]
    assert len({d.id for d in bench.offered}) == 3
    for answer, decision in zip(answers, bench.offered[1:], strict=True):
        assert isinstance(answer, Selection)
        assert bench.signer.verify(answer.request_id, now_ms=bench.clock.now_ms()) == decision
        assert answer.propensity == pytest.approx(first.propensity)
    assert [struct.unpack("<2d", d.vector or b"") for d in bench.offered[1:]] == [(1, 0), (0, 1)]
    assert bench.selector.selected["acme", "greeting"] == 3


def test_one_bad_request_does_not_harm_those_answered_with_it() -> None:
    bench = Bench(greeting(context=ContextSpec(dimension=2)), policy="LinUCB")
    many = {"too": "large", "text": "x" * 40_000}
    requests = [
        *asked([1.0, 0.0], [1.0], None, [math.nan, 0.0]),
        SelectRequest("greeting", Context(vector=[0.0, 1.0], metadata=many)),
        *asked([0.5, 0.5]),
    ]
    answers = bench.selector.select_many("acme", "greeting", requests)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Selection, *[ContextInvalid] * 4, Selection]
    assert len(bench.offered) == 2


def test_together_or_alone_depends_on_what_serves_at_the_moment() -> None:
    bench = Bench(greeting(context=ContextSpec(dimension=2)), policy="LinUCB")
    bench.selector.select("acme", "greeting", context=Context(vector=[1.0, 0.0]))
    masked = bench.selector.select_many("acme", "greeting", asked([1.0, 0.0], mask=["dry"]))
    assert [a.arm.id for a in masked if isinstance(a, Selection)] == ["dry"]
    bench.publish(greeting(), policy="Uniform", offset=8)
    answers = bench.selector.select_many("acme", "greeting", asked(None, None))
    assert [type(answer) for answer in answers] == [Selection, Selection]
    assert bench.selector.together == set()
    bench.publish(greeting(state="paused"), policy="Uniform", offset=9)
    with pytest.raises(ExperimentClosed):
        bench.selector.select_many("acme", "greeting", asked(None))


def test_no_id_of_a_person_is_signed_or_stored() -> None:
    bench = Bench(greeting(targeting=Targeting(sticky=True)), policy="BetaThompson")
    context = Context(id="jane@example.com", metadata={"user_id": "jane", "plan": "pro"})
    chosen = bench.selector.select("acme", "greeting", context=context, unit_id="jane")
    signed = bench.signer.verify(chosen.request_id, now_ms=bench.clock.now_ms())
    assert signed == bench.offered[0]
    assert b"jane" not in msgspec.msgpack.encode(signed)
    assert signed.metadata == {"user_id": UNITS.name("acme", "jane"), "plan": "pro"}
