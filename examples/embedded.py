"""The whole loop in ten lines, in your own process: no server, no network, state in one folder."""

from __future__ import annotations

import random

import loopwright


def main(data: str = "loopwright-data", rounds: int = 200) -> dict[str, float | None]:
    likes = {"short": 0.7, "long": 0.3}  # what Loopwright has to find out
    visitor = random.Random(1)
    with loopwright.open(data) as loop:
        loop.experiments.create("greeting", arms=list(likes))
        for _ in range(rounds):
            selection = loop.agent.select("greeting")
            clicked = visitor.random() < likes[selection.arm.id]
            loop.agent.feedback(selection.request_id, reward=clicked)
        loop.wait_until_learned()
        status = loop.experiments.status("greeting")
    for arm in status.arms:
        print(f"{arm.arm_id:5}  {arm.n:3} rewards, share of the traffic now {arm.share or 0:.0%}")
    return {arm.arm_id: arm.share for arm in status.arms}


if __name__ == "__main__":
    main()
