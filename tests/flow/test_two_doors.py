"""The embedded loop and both clients: the same calls with the same arguments, answers and errors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import pytest

import loopwright
from loopwright.cli.digits import Served, server
from loopwright.client import AsyncClient, Client, FeedbackItem
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import LoopError
from loopwright.core.experiment import Arm

GROUPS = (
    "agent", "datasets", "experiments", "exports", "feedback", "keys", "limits", "rollouts", "tenants", "triggers", "versions",
)  # fmt: skip


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


def arm_of(door: Door, id: str, arm: dict[str, Any]) -> Any:
    experiments = door("experiments")
    experiments.create(id, arms=["a"], exists_ok=True)
    names = [each.id for each in experiments.get(id).arms]
    if "more" not in names:
        experiments.add_arm(id, **arm)
    return experiments.get(id).arms


def arm_changed(door: Door, **change: Any) -> Any:
    experiments = door("experiments")
    experiments.create("changing", arms=[{"id": "a", "payload": 1}, "b"], exists_ok=True)
    return experiments.change_arm("changing", "a", **change).arms


def released(door: Door) -> Any:
    made = door("feedback").release(from_ms=1, to_ms=2, note="ours")
    withdrawn = door("feedback").withdraw(made.id)
    return made.note, made.withdrawn_by, withdrawn.withdrawn_by is None


def built(door: Door) -> Any:
    said = {"kind": "correction", "query": "How?", "output_id": "o", "event_id": "one-only"}
    door("feedback").send([said | {"before": "this way", "after": "This way, please."}])
    datasets = door("datasets")
    made = datasets.build({"name": "p", "splits": {"train": 1.0}})
    return (
        (made.rows, [shard.digest for shard in made.shards]),
        datasets.export(made.id, format="simple"),
        datasets.verify(made.id).is_equal,
        datasets.get(made.id[:20]).recipe,
        datasets.diff(made.id, made.id).common,
        datasets.expire(made.id).expired_at_ms is not None,
    )


def limited(door: Door) -> Any:
    limits = door("limits")
    made = limits.put("chat", prior=1, burst=2, least=0.5)
    told = [limits.acquire("chat", key="ada").allowed for _ in range(3)]
    limits.report("chat", overloaded=0.5)
    found = limits.status("chat").limit.burst, [each.limit.id for each in limits.list().items]
    return made.rate, told, found, limits.delete("chat")


def rolled_out(door: Door) -> Any:
    door("experiments").create("sticky", arms=["a", "b"], gate={"sticky": True}, exists_ok=True)
    rollouts = door("rollouts")
    # Both clients talk to one server.
    id = f"r{len(rollouts.list().items)}"
    begun = rollouts.begin(id, experiment_id="sticky", champion="a", challenger="b")
    told = rollouts.report(id)
    states = [rollouts.hold(id).state, rollouts.resume(id).state, rollouts.cancel(id).state]
    assert told.verdict is not None
    return begun.stages, told.verdict.outcome, told.next, states


def triggered(door: Door) -> Any:
    triggers = door("triggers")
    hourly = {"kind": "schedule", "every_s": 3600}
    made = triggers.add("t", condition=hourly, actions=[{"kind": "github"}])
    told = triggers.report("t")
    states = [triggers.disable("t").is_enabled, triggers.enable("t").is_enabled]
    secret = triggers.secret("t").secret[:6]
    listed = [each.id for each in triggers.list().items]
    found = triggers.firings(trigger_id="t").items, triggers.deliveries(trigger_id="t").items
    return (
        made.actions,
        told.judged,
        told.next,
        states,
        secret,
        listed,
        found,
        triggers.remove("t").id,
    )


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
    "list": lambda door: (
        token(door),
        [each.id for each in door("experiments").list(limit=1)],
        door("experiments").list(limit=1).next_cursor,
    )[1:],
    "a page of none": lambda door: door("experiments").list(limit=0),
    "update": lambda door: (
        token(door),
        door("experiments").update("x", {"name": "X"}).name,
        door("experiments").update("x", Amendment(name="Y")).name,
    )[1:],
    "update what is not there": lambda door: door("experiments").update("nope", {"name": "X"}),
    "update nothing that there is": lambda door: door("experiments").update("x", {"nam": "X"}),
    "a definition": lambda door: (
        door("experiments")
        .define({"id": "defined", "arms": [{"id": "a"}]}, start=False, exists_ok=True)
        .state
    ),
    "a definition with a state": lambda door: door("experiments").define(
        {"id": "z", "arms": [{"id": "a"}], "state": "ended"}
    ),
    "an arm more": lambda door: arm_of(door, "an-id", {"arm": "more", "payload": [1]}),
    "a whole arm more": lambda door: arm_of(door, "an-arm", {"arm": Arm(id="more", payload=[1])}),
    "an arm described twice": lambda door: arm_of(
        door, "twice", {"arm": {"id": "more"}, "payload": 1}
    ),
    "an arm changed": lambda door: arm_changed(door, state="disabled", payload=None),
    "an arm changed by a whole change": lambda door: arm_changed(
        door, change=ArmChange(state="disabled", payload=None)
    ),
    "an arm changed twice": lambda door: arm_changed(door, change={}, state="disabled"),
    "an arm changed to what is not": lambda door: arm_changed(door, state="gone"),
    "raw copies that are off": lambda door: door("feedback").raw("e"),
    "withdraw what is not there": lambda door: door("feedback").withdraw("nope"),
    "release for too long": lambda door: door("feedback").release(from_ms=0, to_ms=10**12),
    "release before it begins": lambda door: door("feedback").release(from_ms=5, to_ms=1),
    "release": released,
    "quality of no tenant": lambda door: door("feedback").quality("nope"),
    "quality of no days": lambda door: door("feedback").quality(days=0),
    "usage of no tenant": lambda door: door("tenants").usage("nope"),
    "a tenant that is there": lambda door: door("tenants").create("default"),
    "a key without a scope": lambda door: door("keys").create(),
    "a key that is not there": lambda door: door("keys").revoke("nope"),
    "no such table": lambda door: door("exports").page("nope"),
    "no such format": lambda door: door("exports").page("feedback", format="xlsx"),
    "a page before the first": lambda door: door("exports").page("feedback", cursor=-1),
    "items that are refused": lambda door: [
        (result.status, (result.problem or {}).get("code"))
        for result in door("feedback").send([{"kind": "rating", "scale": "stars", "value": 9}, {}])
    ],
    "a version": lambda door: (
        door("versions").add("v1", kind="prompt", content="a").digest,
        door("versions").add("v1", kind="prompt", content="a").digest,
        door("versions").list(kind="prompt").items[0].id,
    ),
    "a version that is another": lambda door: (
        door("versions").add("v1", kind="prompt", content="a")
        and door("versions").add("v1", kind="prompt", content="b")
    ),
    "a version of no kind": lambda door: door("versions").add("v", kind="poem", content="a"),
    "no such version": lambda door: door("versions").lineage("nope"),
    "a data set": lambda door: built(door),
    "a data set of nothing": lambda door: door("datasets").build({"name": "p", "tasks": ["none"]}),
    "a recipe that is none": lambda door: door("datasets").build("p"),
    "no such data set": lambda door: door("datasets").verify("nope"),
    "a limit": lambda door: limited(door),
    "a limit that contradicts itself": lambda door: door("limits").put("l", prior=1, most=0.5),
    "a limit of nothing": lambda door: door("limits").put("l", prior=0),
    "a name that is no id": lambda door: door("limits").put("a b", prior=1),
    "no such limit": lambda door: door("limits").acquire("nope"),
    "a cost of nothing": lambda door: door("limits").acquire("nope", cost=0),
    "a rollout": lambda door: rolled_out(door),
    "a rollout of nothing": lambda door: door("rollouts").begin(
        "r", experiment_id="nope", champion="a", challenger="b"
    ),
    "no such rollout": lambda door: door("rollouts").report("nope"),
    "a trigger": triggered,
    "a trigger twice": lambda door: [
        door("triggers").add(id, condition={"kind": "schedule", "every_s": 3600})
        for id in (f"twice{len(door('triggers').list().items)}",) * 2
    ],
    "a trigger of no kind": lambda door: door("triggers").add("t", condition={"kind": "moon"}),
    "a trigger on a metric that is none": lambda door: door("triggers").add(
        "t", condition={"kind": "metric", "metric": "nope", "below": 1}
    ),
    "a trigger that sends into the network": lambda door: door("triggers").add(
        "t",
        condition={"kind": "retrain"},
        actions=[{"kind": "webhook", "url": "https://10.0.0.1/"}],
    ),
    "no such trigger": lambda door: door("triggers").report("nope"),
    "no such delivery": lambda door: door("triggers").send_again("nope"),
    "deliveries in no state": lambda door: door("triggers").deliveries(state="lost"),
    "firings of none": lambda door: door("triggers").firings(limit=0),
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
    assert over_http.keys() == embedded.keys()
    for name, signature in embedded.items():
        assert arguments_of(signature) == arguments_of(over_http[name]), name
    for door in (Client, AsyncClient):
        found = arguments_of(inspect.signature(door.to_arrow))
        assert found == arguments_of(inspect.signature(loopwright.Loop.to_arrow))


ANSWERS: dict[str, Callable[[Door], Any]] = {
    "create": lambda door: (token(door), door("experiments").get("x"))[1],
    "list": lambda door: (token(door), door("experiments").list())[1],
    "status": lambda door: (token(door), door("experiments").status("x"))[1],
    "advice": lambda door: (token(door), door("experiments").advice("x"))[1],
    "send": lambda door: door("feedback").send([{"kind": "rating", "scale": "thumbs", "value": 1}]),
    "interactions": lambda door: door("feedback").interactions([{"id": "o"}]),
    "steps": lambda door: door("feedback").steps(
        [{"id": "s", "session_id": "v", "kind": "sql_generation"}]
    ),
    "quality": lambda door: door("feedback").quality(),
    "trust": lambda door: door("feedback").trust(),
    "release": lambda door: door("feedback").withdraw(
        door("feedback").release(from_ms=3, to_ms=4).id
    ),
    "timezone": lambda door: door("feedback").timezone(),
    "page": lambda door: (token(door), door("exports").page("feedback", format="jsonl"))[1],
    "key": lambda door: door("keys").create(role="viewer"),
    "signing key": lambda door: door("keys").rotate_signing(),
    "tenants": lambda door: door("tenants").list(),
    "usage": lambda door: door("tenants").usage(),
    "datasets": lambda door: door("datasets").list(),
    "limits": lambda door: (
        door("limits").put("l9", prior=5),
        door("limits").list(),
        door("limits").acquire("l9"),
    ),
    "versions": lambda door: (
        door("versions").add("v9", kind="tool", content=1),
        door("versions").list(),
        door("versions").diff("v9", "v9"),
        door("versions").lineage("v9"),
    ),
}


def shape_of(value: object) -> object:
    """Return the name and the fields of a type, and of the types of its fields."""
    match value:
        case dict():
            return {name: shape_of(member) for name, member in value.items()}
        case list() | tuple():
            return type(value).__name__, shape_of(value[0]) if value else None
        case msgspec.Struct():
            return structure(type(value))
        case _:
            return type(value).__name__


def structure(kind: Any) -> object:
    """Return what a type is made of, wherever it is declared."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__name__, {
            field.name: structure(field.type) for field in msgspec.structs.fields(kind)
        }
    # A client takes any text where a newer server could know more words than these.
    if get_origin(kind) is Literal:
        return "str"
    if get_origin(kind) is Annotated:
        return structure(get_args(kind)[0])
    if inner := get_args(kind):
        return [structure(each) for each in inner if each is not Ellipsis]
    return getattr(kind, "__name__", str(kind))


@pytest.mark.parametrize("name", ANSWERS)
def test_every_door_answers_with_the_same_fields(doors: list[Door], name: str) -> None:
    first, *others = [shape_of(ANSWERS[name](door)) for door in doors]
    assert [first] * len(others) == others


def test_code_that_reads_a_selection_runs_with_every_door(doors: list[Door]) -> None:
    for door in doors:
        token(door)
        found = door("agent").select("x")
        # Only a client can fall back, so only there a token may be missing.
        members = (found.experiment_id, found.mode, found.rule, found.is_fallback, found.reason)
        assert members == ("x", "live", None, False, None)
        assert set(msgspec.structs.asdict(found.arm)) == {"id", "payload", "metadata"}
        assert [
            type(member).__name__
            for member in (found.request_id, found.decision_id, found.propensity, found.snapshot)
        ] == ["str", "str", "float", "int"]


def test_keys_are_listed_with_the_same_members(doors: list[Door]) -> None:
    for door in doors:
        door("keys").create(role="viewer")
    assert len({frozenset(key) for door in doors for key in door("keys").list()}) == 1
