"""A call listed once is a method of both clients."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from loopwright.client import calls, groups
from loopwright.client.exchange import Call, Done, Terms
from loopwright.client.groups import AsyncGroup, Group

PAIRS = [
    (groups.Agent, groups.AsyncAgent),
    (groups.Experiments, groups.AsyncExperiments),
    (groups.Feedback, groups.AsyncFeedback),
    (groups.Keys, groups.AsyncKeys),
]
TERMS = Terms(base_url="http://loop")


def path_of(call: Call[Any] | Done[Any]) -> str:
    assert isinstance(call, Call)
    return call.path


async def awaited_path_of(call: Call[Any] | Done[Any]) -> str:
    return path_of(call)


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS)
def test_both_clients_have_the_same_calls(blocking: type[Group], awaited: type[AsyncGroup]) -> None:
    def names(group: type) -> set[str]:
        return {name for name in dir(group) if not name.startswith("_")}

    assert names(blocking) == names(awaited) != set()


def test_a_blocking_group_returns_the_answer() -> None:
    answer: Any = groups.Agent(TERMS, path_of).select("x")
    assert answer == "/api/v1/agent/select"


def test_an_asynchronous_group_is_awaited() -> None:
    asked: Any = groups.AsyncAgent(TERMS, awaited_path_of).select("x")
    assert inspect.iscoroutine(asked)
    assert asyncio.run(asked) == "/api/v1/agent/select"


def test_nothing_is_built_before_an_asynchronous_call_is_awaited() -> None:
    wrong: Any = 3
    asked = groups.AsyncAgent(TERMS, awaited_path_of).select(wrong)
    with pytest.raises(Exception, match="experiment_id is 3"):
        asyncio.run(asked)


def test_a_method_has_the_documentation_of_its_call() -> None:
    agent = groups.Agent(TERMS, path_of)
    assert agent.select.__doc__ == calls.select.__doc__
    assert inspect.signature(agent.select) == inspect.signature(calls.select)
    assert groups.Agent.select.__doc__ == calls.select.__doc__


def test_a_method_is_made_once_for_each_group() -> None:
    one, other = groups.Agent(TERMS, path_of), groups.Agent(TERMS, path_of)
    assert one.select is one.select
    assert one.select is not other.select
