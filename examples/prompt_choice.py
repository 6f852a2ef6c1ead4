"""Which prompt gets its answer accepted? The verdict comes later, out of order, and sometimes never.

The signed `request_id` travels with the answer (a hidden field, a database column, a queue), so nothing has to be
remembered between a select and its feedback, and it does not matter when or in which order feedback arrives. After
the attribution window, an answer nobody judged counts as not accepted.
"""

from __future__ import annotations

import random
from collections import deque

import loopwright
from loopwright.core.experiment import Arm
from loopwright.core.reward import RewardSpec

PROMPTS = {
    "plain": "Answer the question.",
    "steps": "Think step by step, then answer the question.",
    "cited": "Answer the question and cite the passage you used.",
}
ACCEPTED = {"plain": 0.35, "steps": 0.5, "cited": 0.75}  # unknown to the product


def main(data: str = "loopwright-data", rounds: int = 600) -> str:
    people = random.Random(3)
    inbox: deque[tuple[int, str, bool]] = deque()
    with loopwright.open(data) as loop:
        loop.experiments.create(
            "support-prompt",
            arms=[Arm(id=id, payload={"prompt": text}) for id, text in PROMPTS.items()],
            reward=RewardSpec(metric="accepted", type="binary", window_s=86_400, default=0.0),
        )
        for now in range(rounds):
            selection = loop.agent.select("support-prompt", {"id": f"ticket-{now}"})
            if people.random() < 0.9:  # one in ten never says a word
                accepted = people.random() < ACCEPTED[selection.arm.id]
                inbox.append((now + people.randrange(1, 60), selection.request_id, accepted))
            for _ in range(len(inbox)):
                due, request_id, accepted = inbox.popleft()
                if due <= now:
                    loop.agent.feedback(request_id, reward=accepted, metric="accepted")
                else:
                    inbox.append((due, request_id, accepted))
        loop.wait_until_learned()
        arms = loop.experiments.status("support-prompt").arms
    best = max(arms, key=lambda arm: arm.share or 0.0)
    for arm in arms:
        print(f"{arm.arm_id:5}  {arm.n:3} verdicts, share of the traffic now {arm.share or 0:.0%}")
    print(f"most traffic goes to {best.arm_id!r}: {PROMPTS[best.arm_id]}")
    return best.arm_id


if __name__ == "__main__":
    main()
