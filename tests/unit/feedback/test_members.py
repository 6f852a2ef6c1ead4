from __future__ import annotations

import math
from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.feedback.members import Members, finite, shown, stars, thumb_word, thumbs


def test_what_was_read_is_gone_and_the_rest_is_left() -> None:
    members = Members({"name": "n", "size": 2, "tags": ["a"], "data": {"k": 1}, "more": None})
    assert members.text("name") == "n"
    assert members.number("size") == 2.0
    assert members.strings("tags") == ("a",)
    assert members.object("data") == {"k": 1}
    assert members.text("absent") is None
    assert members.left == {"more": None}


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        ("text", 7, "a string"),
        ("number", "7", "a number"),
        ("number", True, "a number"),
        ("object", [], "an object"),
        ("strings", ["a", 1], "a list of strings"),
    ],
)
def test_a_member_of_the_wrong_type_is_refused_by_its_full_name(
    read: str, value: Any, expected: str
) -> None:
    with pytest.raises(Invalid, match=rf"^data\.m is .*; send {expected}$"):
        getattr(Members({"m": value}, where="data."), read)("m")


def test_a_text_and_a_list_have_limits() -> None:
    with pytest.raises(Invalid, match="m has 4 characters; at most 3"):
        Members({"m": "abcd"}).text("m", limit=3)
    with pytest.raises(Invalid, match="m has 65 entries; at most 64"):
        Members({"m": ["a"] * 65}).strings("m")


def test_a_value_is_shown_in_the_words_of_json_and_short() -> None:
    given = ["a", 1.5, True, None, {"k": 1}, [1]]
    assert [shown(value) for value in given] == [
        "'a'",
        "1.5",
        "true",
        "null",
        "an object",
        "a list",
    ]
    assert len(shown("x" * 1000)) == 61


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400])
def test_only_finite_numbers_are_numbers(value: float) -> None:
    with pytest.raises(Invalid, match="finite"):
        finite(value, "value")


def test_stars_and_thumbs_take_what_people_send_and_nothing_else() -> None:
    assert [stars(n) for n in (1, 5.0)] == [1.0, 5.0]
    assert [thumb_word(thumbs(word)) for word in ("up", "down")] == ["up", "down"]
    for wrong in (0, 6, 4.5, True, "4", None):
        with pytest.raises(Invalid):
            stars(wrong)
    for wrong in ("UP", 1, True, None):
        with pytest.raises(Invalid):
            thumbs(wrong)
