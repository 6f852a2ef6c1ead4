from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopwright.core import errors
from loopwright.core.errors import LoopError


def tree(root: type[LoopError]) -> Iterator[type[LoopError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ALL = [e for e in tree(LoopError) if e.__module__ == errors.__name__]
LEAVES = [e for e in ALL if e is not LoopError]
WORDED = [errors.EventConflict]
"""Those that word their own message."""


def test_codes_are_unique() -> None:
    codes = [error.code for error in ALL]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", [e for e in ALL if e not in WORDED])
def test_an_error_carries_its_message_and_details(error: type[LoopError]) -> None:
    made = error("found 3; expected 2; send fewer", found=3)
    assert str(made) == made.message == "found 3; expected 2; send fewer"
    assert made.detail == {"found": 3}


def test_a_conflict_of_events_names_the_id_and_shows_little_of_a_long_one() -> None:
    made = errors.EventConflict("e" * 200)
    assert made.detail == {"event_id": "e" * 200}
    assert "e" * 80 in str(made)
    assert "e" * 81 not in str(made)


@pytest.mark.parametrize("error", LEAVES)
def test_an_error_maps_to_a_client_or_server_status(error: type[LoopError]) -> None:
    assert 400 <= error.status < 600
    assert error.status != 500, "500 is left to what nobody foresaw"


@pytest.mark.parametrize("error", LEAVES)
def test_the_drawn_tree_names_every_error(error: type[LoopError]) -> None:
    drawn = (errors.__doc__ or "").split("LoopError", 1)[1]
    assert error.__name__ in drawn


@pytest.mark.parametrize("error", ALL)
def test_a_code_is_one_lower_case_word(error: type[LoopError]) -> None:
    assert error.code.replace("_", "a").isalpha()
    assert error.code == error.code.lower()
