"""Gates through the whole loop: made, changed while running, obeyed, recorded, kept out of learning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.app.embedded import Loop
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Invalid
from loopwright.core.events import Decided
from loopwright.core.experiment import ContextSpec
from loopwright.core.ports import START
from loopwright.core.targeting import Condition, Fixed, Rule, Targeting
from loopwright.core.upcast import decode

from .conftest import Server

UNITS = [f"user-{n}" for n in range(300)]
ROLLOUT = Targeting(percentage=40, default_arm="a")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with loopwright.open(tmp_path / "data") as running:
        yield running


def test_only_what_the_bandit_drew_is_learned_from(loop: Loop, tmp_path: Path) -> None:
    loop.experiments.create("greeting", arms=["a", "b"], gate=ROLLOUT)
    live = 0
    for unit in UNITS:
        selection = loop.agent.select("greeting", unit_id=unit)
        live += selection.mode == "live"
        loop.agent.feedback(selection.request_id, 1)
    assert loop.wait_until_learned()
    status = loop.experiments.status("greeting")
    assert 0 < live < len(UNITS)
    assert (status.decisions, status.feedback) == (live, live)
    assert status.skipped == {"mode": len(UNITS) - live}
    loop.close()
    with closing(SqliteEventLog(tmp_path / "data" / "log.db")) as log:
        batches = log.read(START, limit=10_000)
    facts = [fact for batch in batches for fact in decode(batch.body, version=batch.version)]
    logged = [fact.decision for fact in facts if isinstance(fact, Decided)]
    assert {(d.mode, d.rule) for d in logged} == {("live", None), ("holdout", "rollout")}


def test_the_gate_of_a_running_experiment_may_change(loop: Loop) -> None:
    loop.experiments.create("greeting", arms=["a", "b"])

    def live() -> set[str]:
        found = {unit: loop.agent.select("greeting", unit_id=unit) for unit in UNITS}
        return {unit for unit, selection in found.items() if selection.mode == "live"}

    def change(gate: Targeting | None) -> set[str]:
        loop.experiments.update("greeting", Amendment(targeting=gate))
        return live()

    assert live() == set(UNITS)
    few = change(ROLLOUT)
    more = change(Targeting(percentage=70, default_arm="a"))
    assert set() < few < more < set(UNITS)
    assert change(None) == set(UNITS)
    assert loop.experiments.get("greeting").revision == 5


def test_sticky_units_keep_their_arm_across_a_restart(tmp_path: Path) -> None:
    def arms(loop: Loop) -> list[str]:
        return [loop.agent.select("greeting", unit_id=unit).arm.id for unit in UNITS]

    with loopwright.open(tmp_path / "data") as loop:
        loop.experiments.create("greeting", arms=["a", "b", "c"], gate=Targeting(sticky=True))
        before = arms(loop)
    assert set(before) == {"a", "b", "c"}
    with loopwright.open(tmp_path / "data") as loop:
        assert arms(loop) == before


def test_an_arm_that_the_gate_gives_cannot_be_taken_out_of_service(loop: Loop) -> None:
    loop.experiments.create("greeting", arms=["a", "b"], gate=ROLLOUT)
    off = ArmChange(state="disabled")
    with pytest.raises(Invalid, match="default_arm gives the arm 'a', which is disabled"):
        loop.experiments.change_arm("greeting", "a", off)
    both = Amendment(targeting=Targeting(percentage=40, default_arm="b"), arms={"a": off})
    assert loop.experiments.update("greeting", both).arms[0].state == "disabled"


def test_a_gate_that_names_no_arm_of_the_experiment_is_refused(loop: Loop) -> None:
    gate = Targeting(rules=(Rule("r", (), Fixed("z")),))
    with pytest.raises(Invalid, match="rule 'r' names the arm 'z'"):
        loop.experiments.create("greeting", arms=["a", "b"], gate=gate)


def test_a_gated_experiment_still_wants_its_context(loop: Loop) -> None:
    gate = Targeting(percentage=0, default_arm="a")
    loop.experiments.create("routing", arms=["a", "b"], dimension=2, gate=gate)
    assert loop.experiments.get("routing").context == ContextSpec(2)
    with pytest.raises(Invalid, match="vector is missing"):
        loop.agent.select("routing")
    assert loop.agent.select("routing", {"vector": [1, 0]}).mode == "holdout"


def test_a_gate_travels_over_http_and_answers_name_its_rule(server: Server) -> None:
    seats = {"attribute": "metadata.seats", "op": "ge", "value": 100}
    gate = {"rules": [{"id": "big", "when": [seats], "then": {"arm": "b"}}]}
    server.experiment("greeting", gate=gate)
    big = server.select("greeting", context={"metadata": {"seats": 250}})
    assert (big["arm"]["id"], big["mode"], big["rule"]) == ("b", "fallback", "big")
    assert big["propensity"] == 1.0
    small = server.select("greeting", context={"metadata": {"seats": 3}})
    assert (small["mode"], small["rule"]) == ("live", None)

    answer = server.post("/agent/feedback", {"request_id": big["request_id"], "reward": 1})
    assert answer.status_code == 201
    sticky = {"gate": {"sticky": True}}
    server.http.patch("/api/v1/experiments/greeting", json=sticky).raise_for_status()
    refused = server.post("/agent/select", {"experiment_id": "greeting"})
    assert refused.status_code == 422
    assert "unit_id is missing" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ({"rollout": 101, "default_arm": "a"}, "100"),
        ({"rollout": 0.005, "default_arm": "a"}, "steps of 0.01"),
        ({"rollout": 50}, "set default_arm"),
        ({"default_arm": "z"}, "names the arm 'z'"),
        ({"rules": [{"id": "r", "then": "sometimes"}]}, "then"),
        ({"rules": [{"id": "r"}, {"id": "r"}]}, "ids are unique"),
        ({"rules": [{"id": "r", "when": [{"attribute": "plan", "value": 1}]}]}, "metadata.<key>"),
        ({"rules": [{"id": "r", "when": [{"attribute": "unit_id", "op": "like"}]}]}, "op"),
        ({"starts_at_ms": 2, "ends_at_ms": 1, "default_arm": "a"}, "end after it starts"),
        ({"sticky": "optional"}, "sticky"),
        ("everyone", "gate"),
    ],
)
def test_a_gate_that_cannot_work_is_refused_in_words(shared: Server, gate: Any, why: str) -> None:
    body = {"id": "refused", "arms": [{"id": "a"}, {"id": "b"}], "gate": gate}
    answer = shared.post("/experiments", body)
    assert answer.status_code in (400, 422)
    assert why in answer.json()["detail"], answer.text
    change = shared.http.patch("/api/v1/experiments/greeting", json={"gate": gate})
    assert (change.status_code, why in change.json()["detail"]) == (answer.status_code, True)


def test_a_rule_lets_a_team_through_before_anybody_else(loop: Loop) -> None:
    team = Rule("team", (Condition("unit_id", "in", ("ann", "bo")),))
    gate = Targeting(rules=(team,), percentage=0, default_arm="a")
    loop.experiments.create("greeting", arms=["a", "b"], gate=gate)
    inside = loop.agent.select("greeting", unit_id="ann")
    outside = loop.agent.select("greeting", unit_id="zoe")
    assert (inside.mode, inside.rule) == ("live", "team")
    assert (outside.mode, outside.rule) == ("holdout", "rollout")
