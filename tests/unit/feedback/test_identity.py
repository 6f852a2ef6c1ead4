from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.feedback.identity import (
    canonical,
    event_key,
    former_keys,
    inside_key,
    key_of,
    reward_content,
)

KNOWN = "018f2c5e-8b1a-7c3d-9e4f-5a6b7c8d9e0f"


def spellings(id: uuid.UUID) -> list[str]:
    text = str(id)
    return [text, text.upper(), id.hex, id.hex.upper(), f"{{{text}}}", id.urn, f"  {text}\n"]


@given(st.uuids())
def test_every_spelling_of_a_uuid_is_one_id(id: uuid.UUID) -> None:
    assert {canonical(spelt) for spelt in spellings(id)} == {id.hex}
    assert len({event_key("t", canonical(spelt)) for spelt in spellings(id)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        "Order-1",
        "order-2",
        "018f2c5e-8b1a-7c3d-9e4f-5a6b7c8d9e0g",
        "{018f2c5e8b1a7c3d9e4f5a6b7c8d9e0f",
    ],
)
def test_what_is_no_uuid_stays_as_it_is(other: str) -> None:
    assert canonical(other) == other
    assert canonical(f" {other} ") == other


@given(st.text())
def test_a_canonical_id_is_its_own_canonical_id(id: str) -> None:
    assert canonical(canonical(id)) == canonical(id)


def test_a_key_begins_with_the_time_that_is_in_the_id_and_no_other() -> None:
    assert event_key("t", canonical(KNOWN))[:6].hex() == "018f2c5e8b1a"
    assert (
        event_key("t", "e")[:6]
        == event_key("t", "f3a9c1d27b6e4d58a1b2c3d4e5f60718")[:6]
        == bytes(6)
    )
    assert len(event_key("t", "e")) == 24


def test_the_name_spaces_do_not_meet() -> None:
    sent = event_key("t", "conv-7.1")
    assert sent not in {inside_key(event_key("t", "conv-7"), 1), key_of("t", "conv-7.1", 0)}
    assert sent != event_key("u", "conv-7.1")


def test_former_keys_are_those_of_the_day_and_of_none() -> None:
    day, later = 20_000 * 86_400_000, 20_000 * 86_400_000 + 5
    assert former_keys("t", "e", later) == (key_of("t", "e", 0), key_of("t", "e", day))
    assert former_keys("t", "e", None) == (key_of("t", "e", 0),)


def test_the_two_zeros_are_one_reward() -> None:
    assert reward_content(0.0) == reward_content(-0.0) != reward_content(1.0)
