"""An embedded loop refuses wrong values with a sentence, and says when it is closed or belongs to another process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loopwright
from loopwright.core.errors import Conflict, Invalid, LoopError

SURROGATE = "half \ud800"


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[loopwright.Loop]:
    with loopwright.open(tmp_path / "data") as opened:
        opened.experiments.create("x", arms=["a", "b"])
        yield opened


WRONG: list[Callable[[Any], Any]] = [
    lambda c: c.agent.select(5),
    lambda c: c.agent.select(SURROGATE),
    lambda c: c.agent.select("x", [0.5, 1.0]),
    lambda c: c.agent.select("x", "context"),
    lambda c: c.agent.select("x", {"vector": "abc"}),
    lambda c: c.agent.select("x", {"metadata": {"a": object()}}),
    lambda c: c.agent.select("x", {"id": SURROGATE}),
    lambda c: c.agent.select("x", unit_id=7),
    lambda c: c.agent.select("x", mask="abc"),
    lambda c: c.agent.feedback(7, 1),
    lambda c: c.agent.feedback(SURROGATE, 1),
    lambda c: c.agent.feedback("t", "1"),
    lambda c: c.agent.feedback("t", 10**400),
    lambda c: c.agent.feedback("t", 1, metric=3),
    lambda c: c.agent.feedback("t", 1, event_id=object()),
    lambda c: c.agent.feedback("t", 1, event_id=SURROGATE),
    lambda c: c.agent.feedback_batch({"request_id": "t", "reward": 1}),
    lambda c: c.agent.feedback_batch([5]),
    lambda c: c.feedback.send({"kind": "rating"}),
    lambda c: c.feedback.send("abc"),
    lambda c: c.feedback.send([5]),
    lambda c: c.experiments.create("y", arms="abc"),
    lambda c: c.experiments.create("y", arms=5),
    lambda c: c.experiments.create(SURROGATE, arms=["a", "b"]),
    lambda c: c.experiments.get(5),
    lambda c: c.experiments.get([]),
    lambda c: c.wait_until_learned("5"),
]


@pytest.mark.parametrize("do", WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_refused_in_a_sentence(
    loop: loopwright.Loop, do: Callable[[Any], Any]
) -> None:
    with pytest.raises(LoopError) as caught:
        do(loop)
    assert caught.value.status < 500
    assert " " in caught.value.message


def test_numbers_of_numpy_are_taken(loop: loopwright.Loop) -> None:
    loop.experiments.create("v", arms=["a", "b"], dimension=np.int64(2))  # type: ignore[arg-type]
    chosen = loop.agent.select("v", {"vector": np.array([0.5, 1.0])})
    assert not loop.agent.feedback(chosen.request_id, np.int64(1)).duplicate  # type: ignore[arg-type]  # what callers hand in


def test_closing_twice_does_nothing_and_use_after_it_says_so(tmp_path: Path) -> None:
    loop = loopwright.open(tmp_path / "data")
    loop.experiments.create("x", arms=["a", "b"])
    chosen = loop.agent.select("x")
    loop.close()
    loop.close()
    uses: list[Callable[[], Any]] = [
        lambda: loop.agent.select("x"),
        lambda: loop.agent.feedback(chosen.request_id, 1),
        lambda: loop.feedback.send([]),
        lambda: loop.feedback.quality(),
        lambda: loop.experiments.list(),
        loop.wait_until_learned,
    ]
    for use in uses:
        with pytest.raises(Conflict, match="the loop is closed"):
            use()


def test_a_forked_child_is_told_and_the_parent_goes_on(loop: loopwright.Loop) -> None:
    chosen = loop.agent.select("x")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            loop.agent.feedback(chosen.request_id, 1)
        except Conflict as error:
            said = error.message
            loop.close()
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        assert "forked child" in pipe.read()
    assert not loop.agent.feedback(chosen.request_id, 1).duplicate
    assert loop.wait_until_learned()


def test_what_is_refused_is_invalid_not_a_conflict(loop: loopwright.Loop) -> None:
    with pytest.raises(Invalid):
        loop.agent.select("x", [1.0])  # type: ignore[arg-type]
