"""What makes a fact the same fact, for every shape: the table of docs/explanation/identity.md against a real log."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.ports import Offset
from loopwright.core.reward import RewardSpec
from loopwright.core.upcast import decode

from .conftest import Server

Item = dict[str, Any]

STORED, KNOWN, CONFLICT = 201, 200, 409

DATED: dict[str, tuple[str, Item]] = {
    # Shape: the member of its event id, and an item; each names a person, a session and a time.
    "native": (
        "event_id",
        {
            "kind": "rating",
            "scale": "thumbs",
            "value": 1,
            "message_id": "m",
            "user_id": "u",
            "session_id": "s",
            "occurred_at": "2026-11-27T10:00:00.000Z",
        },
    ),
    "event": (
        "id",
        {
            "type": "explicit",
            "source": "user_rating",
            "category": "accuracy",
            "user_id": "u",
            "session_id": "s",
            "timestamp": "2026-11-27T10:00:00.000Z",
            "data": {"rating": 4, "message_id": "m"},
        },
    ),
    "correction": (
        "event_id",
        {
            "original": "a",
            "corrected": "b",
            "user_id": "u",
            "session_id": "s",
            "message_id": "m",
            "timestamp": "2026-11-27T10:00:00.000Z",
        },
    ),
    "generation": (
        "event_id",
        {
            "offer_id": "O1",
            "customer_id": "u",
            "session_id": "s",
            "rating": 5,
            "thumbs": "up",
            "timestamp": "2026-11-27T10:00:00.000Z",
        },
    ),
    "rating": (
        "event_id",
        {
            "user_id": "u",
            "session_id": "s",
            "rating": 4,
            "timestamp": "2026-11-27T10:00:00.000Z",
        },
    ),
    "browser": (
        "event_id",
        {"type": "rating", "scale": "stars", "value": 4, "session_id": "s", "at_ms": 1795773600000},
    ),
    "interaction": (
        "event_id",
        {
            "id": "call",
            "session_id": "s",
            "user_id": "u",
            "model_id": "m1",
            "started_at": "2026-11-27T10:00:00.000Z",
        },
    ),
    "step": (
        "event_id",
        {
            "session_id": "s",
            "kind": "routing",
            "id": "step",
            "user_id": "u",
            "data": {"to": "sql"},
            "taken_at": "2026-11-27T10:00:00.000Z",
        },
    ),
}

OTHER: dict[str, Item] = {
    "native": {"value": 0},
    "event": {"data": {"rating": 2, "message_id": "m"}},
    "correction": {"corrected": "c"},
    "generation": {"thumbs": "down"},
    "rating": {"rating": 1},
    "browser": {"value": 1},
    "interaction": {"model_id": "m2"},
    "step": {"data": {"to": "chart"}},
}
TIMES = ("occurred_at", "timestamp", "at_ms", "started_at", "taken_at")
PEOPLE = ("user_id", "customer_id")
ID = "0d9c2f1e-8b1a-4c3d-9e4f-5a6b7c8d9e0f"


class Folder:
    """A data folder, opened again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = loopwright.open(path)

    def again(self) -> None:
        self.loop.close()
        self.loop = loopwright.open(self.path)

    def send(self, *items: Item, shape: str = "native") -> list[int]:
        feedback = self.loop.feedback
        take: Callable[[Any], Any] = {
            "interaction": feedback.interactions,
            "step": feedback.steps,
        }.get(shape, feedback.send)
        return [result.status for result in take(list(items))]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder(tmp_path / "data")
    yield opened
    opened.loop.close()


def changed(item: Item, names: tuple[str, ...], value: Any) -> Item:
    return item | {name: value for name in names if name in item}


def later(item: Item) -> Item:
    is_number = "at_ms" in item
    return changed(item, TIMES, 1795773600000 + 86_400_000 if is_number else "2026-11-28T00:00:01Z")


def without_time(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in TIMES or name == "at_ms"}


@pytest.mark.parametrize("shape", DATED)
def test_an_event_id_is_one_fact_and_other_content_under_it_is_a_conflict(
    folder: Folder, shape: str
) -> None:
    name, item = DATED[shape]
    item = item | {name: ID}
    assert folder.send(item, item, shape=shape) == [STORED, KNOWN]
    folder.again()
    assert folder.send(item, shape=shape) == [KNOWN]
    assert folder.send(later(item), shape=shape) == [KNOWN]
    if shape != "rating":  # which has a time, always
        assert folder.send(without_time(item), shape=shape) == [KNOWN]
    spellings = [ID.upper(), ID.replace("-", ""), f"{{{ID}}}", uuid.UUID(ID).urn, f" {ID} "]
    spelt = [item | {name: id} for id in spellings]
    assert set(folder.send(*spelt, shape=shape)) == {KNOWN}
    others = [
        item | OTHER[shape],
        changed(item, ("session_id",), "t"),
        *([changed(item, PEOPLE, "v")] if not item.keys().isdisjoint(PEOPLE) else []),
    ]
    assert set(folder.send(*others, shape=shape)) == {CONFLICT}
    assert folder.send(item | {name: f"1{ID[1:]}"}, shape=shape) == [STORED]


@pytest.mark.parametrize("shape", sorted(DATED.keys() - {"rating"}))
def test_with_a_time_and_no_id_equal_facts_are_one(folder: Folder, shape: str) -> None:
    _, item = DATED[shape]
    assert folder.send(item, item, shape=shape) == [STORED, KNOWN]
    folder.again()
    assert folder.send(item, shape=shape) == [KNOWN]
    others = [later(item), changed(item, ("session_id",), "t")]
    if not item.keys().isdisjoint(PEOPLE):
        others.append(changed(item, PEOPLE, "v"))
    if shape != "interaction":  # one record per call
        others.append(item | OTHER[shape])
    assert set(folder.send(*others, shape=shape)) == {STORED}
    assert folder.send(item, shape=shape) == [KNOWN]


@pytest.mark.parametrize("shape", ["native", "event", "correction", "generation", "step"])
def test_without_a_time_only_a_persons_latest_word_is_repeated(folder: Folder, shape: str) -> None:
    item = without_time(DATED[shape][1])
    other = item | OTHER[shape]
    assert folder.send(item, other, item, item, shape=shape) == [STORED, STORED, STORED, KNOWN]
    folder.again()
    assert folder.send(item, other, other, shape=shape) == [KNOWN, STORED, KNOWN]
    somebody = [changed(other, PEOPLE, "v"), changed(other, ("session_id",), "t")]
    assert folder.send(*somebody, other, shape=shape) == [STORED, STORED, KNOWN]


def test_visitors_are_told_apart_by_session_and_by_address(folder: Folder) -> None:
    thumb = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o"}
    visitors = [
        thumb | {"session_id": "a"},
        thumb | {"session_id": "b"},
        thumb | {"ip_address": "203.0.113.7"},
        thumb | {"ip_address": "203.0.113.8"},
    ]
    assert folder.send(*visitors) == [STORED] * 4
    folder.again()
    assert folder.send(*visitors) == [KNOWN] * 4


def test_records_of_nobody_about_an_offer_are_each_one_more(folder: Folder) -> None:
    record = {"offer_id": "O1", "rating": 2}
    assert folder.send(record, record) == [STORED, STORED]
    known = record | {"customer_id": "C1"}
    assert folder.send(known, known) == [STORED, KNOWN]


def test_what_is_inside_a_call_takes_no_id_from_the_senders(folder: Folder) -> None:
    call = {"event_id": "conv-7", "id": "o", "feedback": [{"type": "thumbs", "value": "up"}]}
    thumb = DATED["native"][1] | {"event_id": "conv-7.1"}
    assert folder.send(call, shape="interaction") == [STORED]
    assert folder.send(thumb) == [STORED]
    assert folder.send(call, shape="interaction") == [KNOWN]


@pytest.mark.parametrize(("mode", "counted"), [("first", 1), ("latest", 3), ("add", 3)])
def test_a_thumb_changed_twice_is_learned_as_the_experiment_counts(
    folder: Folder, mode: Any, counted: int
) -> None:
    loop = folder.loop
    spec = RewardSpec(metric="rating", duplicates=mode)
    loop.experiments.create("e", arms=["a", "b"], reward=spec)
    token = loop.agent.select("e").request_id
    thumb = {"kind": "rating", "scale": "thumbs", "request_id": token, "user_id": "u"}
    words = [thumb | {"value": value} for value in (1, 0, 1, 1)]
    assert folder.send(*words) == [STORED, STORED, STORED, KNOWN]
    rewards = [f for f in facts(folder) if type(f).__name__ == "Received"]
    assert [fact.feedback.value for fact in rewards] == [1.0, 0.0, 1.0][:counted]
    assert len({fact.event_id for fact in rewards}) == counted


def test_a_reward_with_another_value_under_its_id_is_a_conflict(server: Server) -> None:
    server.experiment("e", reward={"type": "binary", "duplicates": "latest"})
    report = {"request_id": server.select("e")["request_id"], "reward": 1, "event_id": ID}
    path = "/agent/feedback"
    assert server.post(path, report).status_code == STORED
    assert server.post(path, report | {"event_id": ID.upper()}).status_code == KNOWN
    refused = server.post(path, report | {"reward": 0})
    assert (refused.status_code, refused.json()["code"]) == (CONFLICT, "event_conflict")
    batch = server.post(f"{path}/batch", {"items": [report, report | {"reward": 0}]}).json()
    assert [result["status"] for result in batch["results"]] == [KNOWN, CONFLICT]
    assert (batch["accepted"], batch["duplicates"], batch["rejected"]) == (0, 1, 1)


def test_feedback_in_conflict_teaches_nothing(folder: Folder) -> None:
    loop = folder.loop
    loop.experiments.create("e", arms=["a"], reward=RewardSpec(metric="rating"))
    one, other = (loop.agent.select("e").request_id for _ in range(2))
    thumb = {"kind": "rating", "scale": "thumbs", "value": 1, "user_id": "u", "event_id": "x"}
    assert folder.send(thumb | {"request_id": one}) == [STORED]
    assert folder.send(thumb | {"request_id": other}) == [CONFLICT]
    assert [type(f).__name__ for f in facts(folder)].count("Received") == 1


def facts(folder: Folder) -> list[Any]:
    """Return the facts of the log."""
    folder.again()
    with closing(SqliteEventLog(folder.path / "log.db")) as log:
        return [f for batch in log.read(Offset(0), limit=10_000) for f in decode(batch.body)]
