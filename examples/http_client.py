"""A product that talks to a server: contexts, feedback in the background, and a default for bad days.

Start a server first (`loopwright serve`), then run this with its address and key:

    python examples/http_client.py http://127.0.0.1:8400 "$(cat loopwright-data/admin.key)"
"""

from __future__ import annotations

import random
import sys

from loopwright.client import Client
from loopwright.core.errors import Conflict

ARMS = ["keyword-search", "vector-search"]


def serves_well(arm: str, question: list[float]) -> bool:
    """Short questions do better with keywords, long ones with vectors; the product learns this by asking."""
    return arm == ("keyword-search" if question[0] < 0.5 else "vector-search")


def main(url: str, api_key: str, rounds: int = 400) -> float:
    people = random.Random(2)
    helped: list[bool] = []
    # While the server is away, selects return this arm, marked as a fallback.
    defaults = {"retrieval": "keyword-search"}
    with Client(url, api_key, default_arms=defaults) as client:
        try:
            client.experiments.create("retrieval", arms=ARMS, dimension=2)
        except Conflict:
            print("the experiment is there already")
        with client.buffered(max_items=20) as feedback:
            for _ in range(rounds):
                length = people.random()
                question = [length, 1 - length]
                selection = client.agent.select("retrieval", {"vector": question})
                good = serves_well(selection.arm.id, question)
                feedback.feedback(request_id=selection.request_id, reward=good)
                helped.append(good)
        print(f"sent {feedback.accepted} rewards, {client.fallbacks} fallbacks")
    late = helped[-100:]
    print(f"the last 100 questions: {sum(late)} helped")
    return sum(late) / len(late)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
