from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.decision import Decision
from loopwright.core.errors import Invalid
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.targeting import Condition, Fixed, Rule, Targeting, check_arms
from loopwright.core.token import Signer


def test_a_gate_reads_like_the_json_that_is_sent() -> None:
    sent = {
        "rules": [
            {
                "id": "big accounts",
                "when": [{"attribute": "metadata.seats", "op": "ge", "value": 100}],
                "then": {"arm": "formal"},
            },
            {
                "id": "team",
                "when": [{"attribute": "unit_id", "op": "in", "value": ["ann", "bo"]}],
            },
        ],
        "rollout": 12.5,
        "default_arm": "formal",
        "sticky": True,
    }
    gate = msgspec.convert(sent, Targeting)
    assert gate == Targeting(
        rules=(
            Rule("big accounts", (Condition("metadata.seats", "ge", 100),), Fixed("formal")),
            Rule("team", (Condition("unit_id", "in", ("ann", "bo")),), "bandit"),
        ),
        percentage=12.5,
        default_arm="formal",
        sticky=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(gate), type=Targeting) == gate


@given(st.integers(0, 10_000))
def test_every_step_of_the_rollout_can_be_said_in_percent(steps: int) -> None:
    gate = Targeting(percentage=steps / 100, default_arm="a")
    assert gate.steps == steps
    assert gate.needs_unit == (0 < steps < 10_000)


@pytest.mark.parametrize("rollout", [-0.01, 100.01, 0.001, 33.333, float("nan"), float("inf")])
def test_a_rollout_that_is_no_number_of_steps_is_refused(rollout: float) -> None:
    with pytest.raises(ValueError, match="rollout is"):
        Targeting(percentage=rollout, default_arm="a")


@pytest.mark.parametrize(
    ("op", "value", "wanted"),
    [
        ("eq", None, "number"),
        ("eq", ("a", "b"), "number"),
        ("eq", float("nan"), "finite"),
        ("eq", "x" * 1025, "1024"),
        ("in", "a", "list"),
        ("in", (), "list"),
        ("not_in", tuple(range(1001)), "1000"),
        ("lt", True, "number"),
        ("ge", None, "number"),
        ("starts_with", 3, "text"),
        ("exists", "yes", "true or false"),
        ("contains", None, "number"),
    ],
)
def test_a_condition_that_can_never_be_meant_is_refused(op: Any, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        Condition("metadata.plan", op, value)


@pytest.mark.parametrize("attribute", ["", "plan", "metadata", "metadata.", "context.id"])
def test_an_attribute_that_no_request_has_is_refused(attribute: str) -> None:
    with pytest.raises(ValueError, match=r"unit_id, context_id or metadata\.<key>"):
        Condition(attribute, "exists")


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"rollout": 50}, "a rollout of 50 % gives the default arm"),
        ({"starts_at_ms": 1}, "the schedule gives the default arm"),
        ({"rules": [{"id": "r", "then": "default"}]}, "rule 'r' gives the default arm"),
        ({"starts_at_ms": 5, "ends_at_ms": 5, "default_arm": "a"}, "end after it starts"),
        ({"rules": [{"id": "r"}, {"id": "r"}]}, "'r' occurs 2 times"),
        ({"rules": [{"id": "rollout"}]}, "choose another id"),
        ({"rules": [{"id": "r", "then": "formal"}]}, "then"),
        ({"rules": [{"id": ""}]}, "length >= 1"),
        ({"rules": [{"id": str(n)} for n in range(101)]}, "at most 100"),
        ({"rules": [{"id": "r", "when": [{"attribute": "unit_id"}]}]}, "value None"),
        ({"percent": 5}, "unknown field"),
    ],
)
def test_a_gate_that_contradicts_itself_is_refused_with_the_reason(
    shape: dict[str, Any], why: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert(shape, Targeting)


def test_a_gate_may_give_only_arms_that_are_there_and_enabled() -> None:
    states = {"a": "enabled", "b": "disabled"}
    check_arms(Targeting(default_arm="a", percentage=1, rules=(Rule("r", (), Fixed("a")),)), states)
    with pytest.raises(Invalid, match=r"default_arm names the arm 'c'; .* 'a', 'b'"):
        check_arms(Targeting(default_arm="c"), states)
    with pytest.raises(Invalid, match="rule 'r' gives the arm 'b', which is disabled"):
        check_arms(Targeting(rules=(Rule("r", (), Fixed("b")),)), states)


def test_a_decision_and_an_experiment_from_before_there_were_gates_are_still_read() -> None:
    decision = Decision("0" * 32, "acme", "greeting", "a", 0.5, 1, 2, "live", "u", "c", b"", {})
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(decision))[:12])
    assert msgspec.msgpack.decode(older, type=Decision) == decision
    assert decision.rule is None
    ruled = msgspec.structs.replace(decision, rule="team", mode="fallback")
    signer = Signer({1: bytes(range(32))}, active=1)
    assert signer.verify(signer.sign(ruled), now_ms=3) == ruled
    plain = msgspec.to_builtins(Experiment(id="x", tenant_id="t", arms=(Arm(id="a"),)))
    del plain["gate"]
    assert msgspec.convert(plain, Experiment).targeting is None
