"""The embedded loop and both clients: the same calls with the same arguments, answers and errors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.cli.digits import Served, server
from loopwright.client import AsyncClient, Client, FeedbackItem
from loopwright.core.errors import LoopError

GROUPS = ("agent", "experiments", "feedback")

ONE_DOOR = {
    # A client is told by its key which tenant it is; keys and exports as files are of the server.
    "client": {"experiments.define"},
    "loop": {
        "experiments.update",
        "feedback.raw",
        "feedback.trust",
        "feedback.release",
        "feedback.withdraw",
    },
}
"""Calls that one door has and the other does not yet. Only to be taken from."""

OTHER_ARGUMENTS = {
    "experiments.list",  # pages over HTTP
    "experiments.add_arm",
    "experiments.change_arm",
    "feedback.quality",  # the client may name a tenant
}
"""Calls whose arguments still differ. Only to be taken from. The answers of `status`, `quality`, `list`, `send`,
`interactions` and `steps` differ in type as well."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("data"), port=0) as found:
        yield found


class Awaited:
    """An asynchronous client as a blocking one: the same calls, each run to its end."""

    def __init__(self, url: str, key: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(url, key)

    def group(self, name: str) -> Any:
        group, loop = getattr(self._client, name), self._loop

        class Calls:
            def __getattr__(self, call: str) -> Callable[..., Any]:
                method: Callable[..., Coroutine[Any, Any, Any]] = getattr(group, call)
                return lambda *args, **kwargs: loop.run_until_complete(method(*args, **kwargs))

        return Calls()

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


Door = Callable[[str], Any]
"""Returns the group of calls of that name."""


@pytest.fixture
def doors(served: Served, tmp_path: Path) -> Iterator[list[Door]]:
    with loopwright.open(tmp_path) as loop, Client(served.url, served.api_key) as client:
        awaited = Awaited(served.url, served.api_key)
        yield [
            lambda name: getattr(loop, name),
            lambda name: getattr(client, name),
            awaited.group,
        ]
        awaited.close()


def said(call: Callable[[Door], Any], door: Door) -> Any:
    """Return what a call answers, or the class and the code of its error."""
    try:
        return call(door)
    except LoopError as error:
        return type(error).__name__, error.code


def token(door: Door) -> str:
    door("experiments").create("x", arms=["a", "b"], exists_ok=True)
    return str(door("agent").select("x", {"id": "c"}, unit_id="u", mask=["a"]).request_id)


def batch(door: Door) -> Any:
    items: list[Any] = [
        {"request_id": token(door), "reward": 1},
        FeedbackItem(token(door), 0.0),
        {"request_id": None, "reward": 1},
        {"request_id": token(door), "reward": "1"},
        {"request_id": "forged", "reward": 1},
        {"request_id": token(door), "reward": 7},
        {"request_id": token(door), "reward": 1, "surprise": 1},
        {"request_id": token(door), "reward": 1, "metric": "other"},
    ]
    receipt = door("agent").feedback_batch(items)
    return (
        type(receipt),
        (receipt.accepted, receipt.duplicates, receipt.rejected, receipt.skipped),
        [
            type(result).__name__
            if isinstance(result, LoopError)
            else (result.skipped, result.flags)
            for result in receipt.results
        ],
    )


def twice(door: Door) -> Any:
    agent, id = door("agent"), token(door)
    first = agent.feedback(id, 1, event_id=f"e-{id[-8:]}")
    again = agent.feedback(id, 1, event_id=f"e-{id[-8:]}")
    return type(first), first.duplicate, again.duplicate, first.event_id == again.event_id


CALLS: dict[str, Callable[[Door], Any]] = {
    "select": lambda door: (token(door) != "", door("agent").select("x").arm.id in "ab"),
    "feedback": twice,
    "feedback of a fallback": lambda door: door("agent").feedback(None, 1),
    "batch": batch,
    "an empty batch": lambda door: door("agent").feedback_batch([]),
    "a batch that is none": lambda door: door("agent").feedback_batch({"request_id": "x"}),
    "a batch of something else": lambda door: door("agent").feedback_batch([5]),
    "a forged token": lambda door: door("agent").feedback("forged", 1),
    "a reward that is text": lambda door: door("agent").feedback("forged", "1"),
    "no such experiment": lambda door: door("agent").select("nope"),
    "a wrong mask": lambda door: door("agent").select("x", mask="abc"),
    "get": lambda door: (token(door), door("experiments").get("x").id)[1],
    "get what is not there": lambda door: door("experiments").get("nope"),
    "status of what is not there": lambda door: door("experiments").status("nope"),
    "create twice": lambda door: token(door) and door("experiments").create("x", arms=["a", "b"]),
    "an arm twice": lambda door: door("experiments").create("y", arms=["a", "a"]),
    "arms that are text": lambda door: door("experiments").create("y", arms="abc"),
    "resume what runs": lambda door: token(door) and door("experiments").resume("x"),
    "a zone": lambda door: door("feedback").set_timezone("Europe/Berlin"),
    "no zone": lambda door: door("feedback").set_timezone("Mars/Phobos"),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_door_gives_the_same_answer_or_error(doors: list[Door], name: str) -> None:
    first, *others = [said(CALLS[name], door) for door in doors]
    assert [first] * len(others) == others


def calls_of(door: Any) -> dict[str, inspect.Signature]:
    return {
        f"{group}.{name}": inspect.signature(getattr(getattr(door, group), name))
        for group in GROUPS
        for name in dir(type(getattr(door, group)))
        if not name.startswith("_")
    }


def arguments_of(signature: inspect.Signature) -> list[tuple[str, Any, Any]]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in signature.parameters.values()
        if parameter.name != "terms"
    ]


def test_a_call_of_one_door_is_a_call_of_all(served: Served, tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop, Client(served.url, served.api_key) as client:
        embedded, over_http = calls_of(loop), calls_of(client)
        awaited = calls_of(AsyncClient(served.url, served.api_key))
    assert over_http.keys() == awaited.keys()
    assert over_http.keys() - embedded.keys() == ONE_DOOR["client"]
    assert embedded.keys() - over_http.keys() == ONE_DOOR["loop"]
    shared = embedded.keys() & over_http.keys()
    differ = {
        name for name in shared if arguments_of(embedded[name]) != arguments_of(over_http[name])
    }
    assert differ == OTHER_ARGUMENTS
    for door in (Client, AsyncClient):
        found = arguments_of(inspect.signature(door.to_arrow))
        assert found == arguments_of(inspect.signature(loopwright.Loop.to_arrow))
