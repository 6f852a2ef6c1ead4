from __future__ import annotations

import pytest

from loopwright.core.digest import MAX_KEY_BYTES, MIN_KEY_BYTES, check_key, pseudonym
from loopwright.core.errors import SettingsInvalid

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def test_a_pseudonym_is_the_same_for_one_key_and_value_and_differs_for_any_other() -> None:
    made = pseudonym(KEY, "u-17")
    assert made == pseudonym(KEY, "u-17")
    assert len({made, pseudonym(KEY, "u-18"), pseudonym(OTHER, "u-17")}) == 3


def test_pseudonyms_that_are_stored_already_still_match() -> None:
    """Changing the digest would cut every person off from what they said before."""
    assert pseudonym(KEY, "u-17") == "df18bf6a7c32b672c3f2c6c8cfa87ad2"


def test_a_value_that_utf8_cannot_hold_has_a_pseudonym_too() -> None:
    assert len(pseudonym(KEY, "\ud800")) == 32
    assert pseudonym(KEY, "\ud800") != pseudonym(KEY, "\ud801")


@pytest.mark.parametrize("size", [0, MIN_KEY_BYTES - 1, MAX_KEY_BYTES + 1])
def test_a_key_of_the_wrong_size_is_refused_before_it_is_used(size: int) -> None:
    with pytest.raises(SettingsInvalid, match=f"has {size} bytes; give 16 to 64"):
        pseudonym(bytes(size), "u-17")


@pytest.mark.parametrize("size", [MIN_KEY_BYTES, MAX_KEY_BYTES])
def test_the_shortest_and_the_longest_key_are_good(size: int) -> None:
    check_key(bytes(size))
