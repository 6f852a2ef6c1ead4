from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.feedback.world import SIGNER, STARS, THUMB, World

from loopwright.core.errors import LoopError
from loopwright.core.events import Stepped
from loopwright.feedback import NOTHING_STORED, TypedAccepted, TypedBatch


@pytest.fixture
def rated() -> Iterator[World]:
    made = World(metric="rating", type="bounded")
    yield made
    made.close()


def ask(world: World, body: Any, *duplicates: bool, path: str = "feedback") -> Any:
    """Send a body; the log stores from offset 7 on all facts but the `duplicates`."""
    prepared = world.intake.prepare("acme", path, json.dumps(body).encode())
    if not prepared.facts:
        return world.intake.settle(prepared, NOTHING_STORED)
    return world.settle(prepared, *duplicates, first=7)


def test_one_item_is_answered_by_its_own_status(world: World) -> None:
    new = ask(world, THUMB)
    assert (new.status, new.content.duplicate, new.content.offset) == (201, False, 7)
    known = ask(world, THUMB, True)
    assert (known.status, known.content.duplicate, known.content.offset) == (200, True, None)
    assert known.content.event_id == new.content.event_id


def test_one_item_that_is_refused_raises_its_error_with_its_place_in_the_quarantine(
    world: World,
) -> None:
    with pytest.raises(LoopError) as caught:
        ask(world, {**THUMB, "value": 3})
    held = caught.value.detail["quarantine_id"]
    assert world.quarantine.read("acme", held).body["value"] == 3


def test_a_batch_is_answered_item_by_item(world: World) -> None:
    items = [THUMB, {**THUMB, "value": 3}, {**THUMB, "output_id": "p"}, {**THUMB, "value": 0}]
    got = ask(world, {"items": items}, False, True, False)
    assert isinstance(got.content, TypedBatch)
    assert (got.content.accepted, got.content.duplicates, got.content.rejected) == (2, 1, 1)
    assert [result.status for result in got.content.results] == [201, 422, 200, 201]
    assert [result.offset for result in got.content.results] == [7, None, None, 8]
    assert got.content.results[3].flags == ("contradiction",)
    problem = got.content.results[1].problem
    assert problem is not None
    assert problem["code"] == "invalid"


def test_a_batch_of_refusals_only_stores_nothing(world: World) -> None:
    got = ask(world, {"items": [{"x": 1}]})
    assert (got.status, got.content.rejected) == (200, 1)


def test_a_second_rating_is_answered_for_itself(rated: World) -> None:
    token = SIGNER.sign(rated.decision())
    items = [{**STARS, "request_id": token}, {**STARS, "value": 1, "request_id": token}]
    got = ask(rated, {"items": items}, False, False, False, True)
    assert [result.status for result in got.content.results] == [201, 201]
    assert [result.offset for result in got.content.results] == [7, 9]


def test_a_step_without_an_id_gets_one_and_the_answer_names_it(world: World) -> None:
    item = {"session_id": "s", "kind": "sql"}
    one, two = world.take(item, item, path="step").facts
    assert isinstance(one, Stepped)
    assert isinstance(two, Stepped)
    assert len(one.step.id) == 32
    assert one.step.id != two.step.id
    got = ask(world, item, path="step")
    assert isinstance(got.content, TypedAccepted)
    assert got.content.id
