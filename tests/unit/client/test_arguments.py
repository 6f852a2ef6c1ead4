"""Whatever a product hands to a call, a wrong value is `Invalid` with a sentence, on every call there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from loopwright.client import Client
from loopwright.client.exchange import Call, Terms
from loopwright.client.groups import Agent, Experiments, Feedback, Keys
from loopwright.core.errors import Invalid, LoopError

SURROGATE = "half \ud800"


class Never(Exception):
    """A request was about to be sent."""


def calling(do: Callable[[Any], Any]) -> Any:
    """Return the call that `do` makes of a client's groups, without sending it."""

    class All:
        def __init__(self) -> None:
            terms = Terms(base_url="http://server")
            self.agent = Agent(terms, lambda call: call)
            self.experiments = Experiments(terms, lambda call: call)
            self.feedback = Feedback(terms, lambda call: call)
            self.keys = Keys(terms, lambda call: call)

    return do(All())


WRONG: list[Callable[[Any], Any]] = [
    lambda c: c.agent.select(5),
    lambda c: c.agent.select(["x"]),
    lambda c: c.agent.select(SURROGATE),
    lambda c: c.agent.select("x", [0.5, 1.0]),
    lambda c: c.agent.select("x", "context"),
    lambda c: c.agent.select("x", {"vector": "abc"}),
    lambda c: c.agent.select("x", {"vector": 3}),
    lambda c: c.agent.select("x", {"vector": [10**400]}),
    lambda c: c.agent.select("x", {"metadata": {"a": object()}}),
    lambda c: c.agent.select("x", {"id": SURROGATE}),
    lambda c: c.agent.select("x", unit_id=7),
    lambda c: c.agent.select("x", mask="abc"),
    lambda c: c.agent.select("x", mask=3),
    lambda c: c.agent.select("x", mask=[1]),
    lambda c: c.agent.feedback(7, 1),
    lambda c: c.agent.feedback("t", "1"),
    lambda c: c.agent.feedback("t", None),
    lambda c: c.agent.feedback("t", 10**400),
    lambda c: c.agent.feedback("t", math.nan),
    lambda c: c.agent.feedback("t", 1, metric=3),
    lambda c: c.agent.feedback("t", 1, event_id=object()),
    lambda c: c.agent.feedback("t", 1, event_id=SURROGATE),
    lambda c: c.agent.feedback_batch({"request_id": "t", "reward": 1}),
    lambda c: c.agent.feedback_batch("abc"),
    lambda c: c.agent.feedback_batch([5]),
    lambda c: c.feedback.send({"kind": "rating"}),
    lambda c: c.feedback.send("abc"),
    lambda c: c.feedback.send([5]),
    lambda c: c.feedback.send([{"kind": SURROGATE}]),
    lambda c: c.feedback.interactions([{"id": object()}]),
    lambda c: c.feedback.steps(None),
    lambda c: c.feedback.quality(5),
    lambda c: c.experiments.create("x", arms="abc"),
    lambda c: c.experiments.create("x", arms=5),
    lambda c: c.experiments.create("x", arms=["a", object()]),
    lambda c: c.experiments.define([]),
    lambda c: c.experiments.get(5),
    lambda c: c.experiments.add_arm("x", 5),
    lambda c: c.experiments.add_arm("x", "a", payload=object()),
    lambda c: c.experiments.change_arm("x", "a", metadata=object()),
    lambda c: c.keys.create(scopes="read"),
    lambda c: c.keys.rotate(None),
]


@pytest.mark.parametrize("do", WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_refused_before_sending_in_a_sentence(do: Callable[[Any], Any]) -> None:
    with pytest.raises(Invalid) as caught:
        calling(do)
    assert " " in caught.value.message


def test_numbers_and_arrays_of_numpy_are_sent_like_pythons() -> None:
    call = calling(
        lambda c: c.agent.select(
            "x", {"vector": np.array([0.5, 1.0]), "metadata": {"n": np.int64(3)}}
        )
    )
    sent = msgspec.json.decode(call.body)
    assert sent["context"] == {"vector": [0.5, 1.0], "metadata": {"n": 3}}
    call = calling(lambda c: c.agent.feedback("t", np.int64(1)))
    assert msgspec.json.decode(call.body)["reward"] == 1.0
    call = calling(lambda c: c.experiments.create("x", arms=["a"], dimension=np.int64(2)))
    assert msgspec.json.decode(call.body)["context"] == {"dimension": 2}


ITEMS = [
    ("send", {"kind": "rating", "value": 1}, "event_id"),
    ("send", {"type": "explicit", "source": "user_rating", "category": "accuracy"}, "id"),
    ("send", {"offer_id": "o", "thumbs": "up"}, "event_id"),
    ("send", {"original": "a", "corrected": "b"}, "event_id"),
    ("interactions", {"id": "answer-1"}, "event_id"),
    ("steps", {"session_id": "s", "kind": "routing"}, "event_id"),
]


@pytest.mark.parametrize(("method", "item", "member"), ITEMS)
def test_every_item_has_its_id_before_the_first_try(
    method: str, item: dict[str, Any], member: str
) -> None:
    call: Call[Any] = calling(lambda c: getattr(c.feedback, method)([item, item]))
    first, second = msgspec.json.decode(call.body or b"")["items"]
    assert first[member] != second[member]
    assert member not in item


@pytest.mark.parametrize(("method", "item", "member"), ITEMS)
def test_an_id_of_the_products_own_is_kept(method: str, item: dict[str, Any], member: str) -> None:
    call = calling(lambda c: getattr(c.feedback, method)([item | {member: "mine"}]))
    assert msgspec.json.decode(call.body)["items"][0][member] == "mine"


def test_a_wrong_value_never_reaches_a_socket(closed_port: int) -> None:
    with Client(f"http://127.0.0.1:{closed_port}") as client, pytest.raises(LoopError) as caught:
        client.agent.feedback("t", 1, event_id=SURROGATE)
    assert isinstance(caught.value, Invalid)
