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
    shielded_reason,
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


@pytest.mark.parametrize(
    "item",
    [
        {"comment": "ask jane@example.com"},
        {"note": "ask jane@example.com"},
        {"metadata": {"email": "jane@example.com"}},
        {"metadata": {"deep": [{"who": "jane@example.com"}]}},
        {"output_id": "jane@example.com"},
        {"jane@example.com": 1},
        {"email": "jane@example.com"},
        {"user_id": {"id": "jane@example.com", "name": "jane@example.com"}},
        {"user_id": ["jane@example.com"]},
        {"userId": "jane@example.com"},
        ["jane@example.com"],
        "jane@example.com",
        {"comment": "x" * 1015 + " jane@example.com " + "y" * 100_000},
    ],
)
def test_no_string_of_a_refused_body_keeps_personal_data(item: Any, world: World) -> None:
    assert "jane" not in encode_body(shielded(world, item).body)


@pytest.mark.parametrize("id", [4711, 4711.0, "4711", {"id": "4711"}, [4711, "4711"]])
def test_a_user_id_of_any_type_is_hidden_and_erasure_can_find_it(id: Any, world: World) -> None:
    kept = shielded(world, {"user_id": id})
    assert "4711" not in encode_body(kept.body).replace(kept.body["user_id"], "")
    assert "4711" not in str(kept.body["user_id"])[: len("person:")]
    said = "4711.0" if id == 4711.0 and isinstance(id, float) else "4711"
    assert world.people.find("acme", said).id in kept.persons
    assert kept.is_whole is isinstance(id, str)


def test_numbers_that_are_cards_or_phones_are_hidden_and_others_stay(world: World) -> None:
    kept = shielded(world, {"card": 4111111111111111, "at_ms": 1795000000000, "value": 4.5})
    assert "4111111111111111" not in encode_body(kept.body)
    assert (kept.body["at_ms"], kept.body["value"]) == (1795000000000, 4.5)


@pytest.mark.parametrize(
    "id",
    ["0190a1b2-1234-7abc-8def-0123456789ab", "4bf92f3577b34da6a3ce929d0e0e4736", "conv-7.1", "o"],
)
def test_ids_of_things_stay_so_that_the_body_can_be_replayed(id: str, world: World) -> None:
    body = {"event_id": id, "output_id": id, "request_id": "AQ" + "fX-_" * 60}
    kept = shielded(world, body)
    assert (kept.body, kept.is_whole) == (body, True)


def test_the_reason_quotes_nothing_that_was_taken_out(world: World) -> None:
    long = "jane " * 40 + "jane@example.com"
    kept = shielded(world, {"user_id": {"id": "jane-17"}, "comment": long, "reviewer": "jane"})
    reasons = ["'jane-17' is odd", f"comment is {repr(long)[:60]}…", "reviewer is 'jane'"]
    for reason in reasons:
        said = shielded_reason(
            reason, kept, key=world.people.key("acme"), redactor=world.pipeline.redactor
        )
        assert "jane" not in said


@pytest.mark.parametrize("item", [["x" * 100] * 1000, {"comment": "x" * 100_000}])
def test_a_body_that_is_too_large_is_cut(item: Any, world: World) -> None:
    kept = shielded(world, item)
    assert not kept.is_whole
    assert len(encode_body(kept.body)) <= BODY_BYTES


def test_an_ordinary_value_holds_no_pseudonym() -> None:
    assert known_person("u") is known_address("203.0.113.9") is None
