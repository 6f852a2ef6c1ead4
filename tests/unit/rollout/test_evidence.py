from __future__ import annotations

from typing import Any

import pytest
from tests.unit.rollout.conftest import QUICK, Stand

from loopwright.core.gate import Gate, Guardrail, Primary
from loopwright.rollout.evidence import QUERIES, gather, values_after


def test_every_query_declares_the_columns_that_it_returns(stand: Stand) -> None:
    stand.begin()
    stand.serve(30, {"old": 0.5, "new": 0.5})
    given: dict[str, Any] = {
        "experiment": "greeting", "champion": "old", "challenger": "new", "arm": "new",
        "since_ms": 0, "through_ms": 2**60, "by_unit": True, "metric": "reward", "after": 0,
    }  # fmt: skip
    for query in QUERIES:
        params = {p.name: given[p.name] for p in query.parameters if p.name in given}
        answer = stand.services.reports.warehouse.query(
            query, tenant_id="default", is_fresh=True, **params
        )
        for row in answer.rows:
            assert len(row) == len(query.columns), query.name


@pytest.mark.parametrize(
    ("duplicates", "expected"), [("first", 0.0), ("latest", 1.0), ("add", 1.5)]
)
def test_a_reward_counts_as_the_learner_counts_it(
    stand: Stand, duplicates: str, expected: float
) -> None:
    stand.loop.experiments.create(
        "twice",
        arms=["old", {"id": "new"}],
        gate={"sticky": True},
        reward={"type": "continuous", "duplicates": duplicates},
    )
    stand.begin("t", experiment_id="twice")
    stand.learn()
    selected = [stand.loop.agent.select("twice", unit_id=f"u{n}") for n in range(40)]
    for n, value in enumerate((0.0, 0.5, 1.0)):
        stand.loop.agent.feedback_batch(
            [
                {"request_id": s.request_id, "reward": value, "event_id": f"{s.request_id[-9:]}{n}"}
                for s in selected
                if s.request_id
            ]
        )
    rollout = stand.rollouts.get("default", "t")
    found = stand.rollouts.evidence(rollout)
    assert found.champion.metrics["reward"].mean == expected


def test_other_metrics_are_means_of_their_values(stand: Stand) -> None:
    gate = Gate(primary=Primary(metric="latency", better="lower"), least_units=2)
    stand.begin(stages=({"name": "ab", "share": 0.5, "gate": gate},))
    stand.learn()
    for n in range(20):
        token = stand.loop.agent.select("greeting", unit_id=f"u{n}").request_id
        for value in (100, 300):
            stand.loop.feedback.send(
                [
                    {
                        "kind": "measurement",
                        "name": "latency",
                        "value": value,
                        "unit": "ms",
                        "request_id": token,
                    }
                ]
            )
    found = stand.rollouts.evidence(stand.rollouts.get("default", "r"))
    assert found.champion.metrics["latency"].mean == 200
    assert found.challenger.metrics["latency"].yy == 40_000 * found.challenger.metrics["latency"].n


def test_only_decisions_of_the_present_stage_are_evidence(stand: Stand) -> None:
    stand.serve(50, {"old": 0.5, "new": 0.5})
    stand.begin(stages=QUICK[:1])
    stand.serve(30, {"old": 0.5, "new": 0.5})
    experiment = stand.loop.experiments.get("greeting")
    asked = {"champion": "old", "challenger": "new", "share": 0.5, "now_ms": stand.clock.now_ms()}
    gate = Gate(guardrails=(Guardrail(metric="reward", margin=0.1),))
    rollout = stand.rollouts.get("default", "r")
    warehouse = stand.services.reports.warehouse
    now = gather(warehouse, experiment, gate, since_ms=rollout.entered_at_ms, **asked)  # type: ignore[arg-type]
    ever = gather(warehouse, experiment, gate, since_ms=0, **asked)  # type: ignore[arg-type]
    assert now.champion.units + now.challenger.units == 30
    assert ever.champion.units + ever.challenger.units + ever.mixed == 80


def test_values_come_in_order_from_where_one_left_off(stand: Stand) -> None:
    stand.serve(40, {"old": 0.5, "new": 0.5})
    experiment = stand.loop.experiments.get("greeting")
    warehouse = stand.services.reports.warehouse
    every = values_after(warehouse, experiment, "old", since_ms=0, after=0)
    places = [place for place, _ in every]
    assert places == sorted(set(places))
    assert values_after(warehouse, experiment, "old", since_ms=0, after=places[4]) == every[5:]
