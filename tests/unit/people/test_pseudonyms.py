from __future__ import annotations

from loopwright.people.pseudonyms import address_pseudonym, event_id_of

KEY, OTHER = bytes(32), bytes(range(32))


def test_an_address_has_one_pseudonym_per_tenant() -> None:
    pseudonym = address_pseudonym(KEY, "203.0.113.9")
    assert pseudonym == address_pseudonym(KEY, "203.0.113.9")
    assert pseudonym not in (address_pseudonym(OTHER, "203.0.113.9"), "203.0.113.9")
    assert len(pseudonym) == 32


def test_an_address_with_a_lone_surrogate_has_a_pseudonym_too() -> None:
    assert address_pseudonym(KEY, "\ud800") != address_pseudonym(KEY, "\ud801")


def test_equal_parts_make_equal_event_ids() -> None:
    assert event_id_of(KEY, "erase", "p") == event_id_of(KEY, "erase", "p")
    assert event_id_of(KEY, "erase", "p") != event_id_of(KEY, "erase", "q")
    assert event_id_of(KEY, "erase", "p") != event_id_of(OTHER, "erase", "p")
