from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.feedback.shield import (
    BODY_BYTES,
    Shielded,
    encode_body,
    known_address,
    known_person,
    shield,
)


def shielded(world: World, item: Any) -> Shielded:
    return shield(
        item,
        key=world.people.key("acme"),
        redactor=world.pipeline.redactor,
        resolve=lambda ids: world.people.resolve("acme", ids),
    )


def test_people_and_addresses_are_pseudonyms_wherever_they_stand(world: World) -> None:
    kept = shielded(
        world, {"user": "u", "data": [{"reviewer": "v"}, {"ip_address": "203.0.113.9"}]}
    )
    people = [world.people.find("acme", id).id for id in "uv"]
    assert kept.persons == tuple(sorted(people))
    assert known_person(kept.body["user"]) == people[0]
    assert known_person(kept.body["data"][0]["reviewer"]) == people[1]
    address = known_address(kept.body["data"][1]["ip_address"])
    assert address is not None
    assert "203.0.113.9" not in encode_body(kept.body)


def test_declared_texts_are_redacted_and_ids_are_not(world: World) -> None:
    kept = shielded(world, {"comment": "ask a@example.com", "output_id": "a@example.com"})
    assert "a@example.com" not in kept.body["comment"]
    assert kept.body["output_id"] == "a@example.com"


@pytest.mark.parametrize("item", [["x" * 100] * 1000, {"comment": "x" * 100_000}])
def test_a_body_that_is_too_large_is_cut(item: Any, world: World) -> None:
    kept = shielded(world, item)
    assert not kept.is_whole
    assert len(encode_body(kept.body)) <= BODY_BYTES


def test_an_ordinary_value_holds_no_pseudonym() -> None:
    assert known_person("u") is known_address("203.0.113.9") is None
