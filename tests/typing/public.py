"""What users write, as mypy sees it. Never run: a wrong type here fails `make check`."""

from __future__ import annotations

from typing import assert_type

import loopwright
from loopwright.client import BatchReceipt, FeedbackItem, Receipt, Selection
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.reward import Observed, Reward, RewardSpec, derive
from loopwright.core.status import Status
from loopwright.core.token import Signer
from loopwright.policies import Allocation, Batch, Draw, Policy, Problem, Served, make
from loopwright.serving import Selection as LocalSelection


def embedded() -> None:
    with loopwright.open("data") as loop:
        assert_type(loop, loopwright.Loop)
        assert_type(loop.experiments.create("greeting", arms=["a", Arm(id="b")]), Experiment)
        chosen = loop.agent.select(
            experiment_id="greeting", context={"id": "c", "vector": [0.5, 1.0]}
        )
        assert_type(chosen, LocalSelection)
        assert_type(chosen.propensity, float)
        assert_type(loop.agent.feedback(request_id=chosen.request_id, reward=1), Receipt)
        assert_type(loop.experiments.status("greeting"), Status)
        assert_type(loop.wait_until_learned(), bool)


def blocking() -> None:
    with loopwright.Client(
        "http://127.0.0.1:8400", "lw_key", default_arms={"greeting": "a"}
    ) as client:
        chosen = client.agent.select(experiment_id="greeting", context={"vector": [0.5]})
        assert_type(chosen, Selection)
        assert_type(client.agent.feedback(request_id=chosen.request_id, reward=0.5), Receipt)
        assert_type(
            client.agent.feedback_batch([FeedbackItem(chosen.request_id, 1.0)]), BatchReceipt
        )
        assert_type(client.experiments.create("greeting", arms=["a", "b"]), Experiment)


async def awaiting() -> None:
    async with loopwright.AsyncClient("http://127.0.0.1:8400", "lw_key") as client:
        chosen = await client.agent.select(experiment_id="greeting")
        assert_type(chosen, Selection)
        assert_type(await client.agent.feedback(request_id=chosen.request_id, reward=1), Receipt)


def policies(problem: Problem, batch: Batch, allocation: Allocation) -> None:
    policy = make("LinUCB", {"alpha": 0.5})
    assert_type(policy, Policy)
    state = policy.learn(problem, policy.empty(problem), batch)
    assert_type(policy.dump(state), bytes)
    served = policy.prepare(problem, state, allocation)
    assert_type(served, Served)
    assert_type(served.select([0.5], 0.25, mask=[0, 2]), Draw)
    assert_type(served.law(None), list[float])


def rewards(signer: Signer) -> None:
    spec = RewardSpec(type="bounded", low=1, high=5, out_of_range="rescale")
    earned = derive(spec, decided_at_ms=0, facts=[Observed(4, 10)], now_ms=20)
    assert_type(earned, Reward | None)
    assert_type(signer.verify("token", now_ms=0).arm_id, str)
